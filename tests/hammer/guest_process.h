// SPDX-License-Identifier: MIT
#pragma once

#include "tests/hammer/guest.h"

namespace ebb::hammer {

// The first packet on `orders`; the userfaultfd and the RAM memfd come with it.
struct GuestHello {
  Hva hva;
};

// The guest's side, in the child. On `orders` each byte is an Order and is answered with a
// GuestReport; on `barriers` each byte is answered when the requests in flight are over.
[[noreturn]] void RunGuestProcess(const GuestOptions& options, synthetic::Vcpu::Counts* counts,
                                  UniqueFd orders, UniqueFd barriers);

}  // namespace ebb::hammer
