// SPDX-License-Identifier: MIT
#include "hostd/ctl/vm_name.h"

#include <cstddef>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "hostd/ctl/session.h"

namespace ebb {
namespace {

constexpr size_t kMaxNameBytes = 63;

}  // namespace

bool IsVmName(const std::string& name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= kMaxNameBytes &&
         name.find_first_not_of(kAllowed) == std::string::npos;
}

int ComplainAboutName(const std::string& name) {
  return Complain(kExitUsage, absl::StrCat("\"", name,
                                           "\" is not a VM's name (1 to 63 characters of A-Z a-z "
                                           "0-9 _ . -); the names are shown by: ebbctl list"));
}

std::string PathOf(const std::string& vm_name, const char* action) {
  return absl::StrCat("/v1/vms/", vm_name, action);
}

}  // namespace ebb
