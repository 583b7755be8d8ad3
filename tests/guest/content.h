// SPDX-License-Identifier: MIT
// What every page of the workload must hold. A page derives from a seed, its address and its
// version, so a page that was lost, mixed up, rolled back or half written is recognised, and so
// that nothing has to be remembered about a page but its version.
//
// Pages are made to look like a working server's memory to LZ4: some are zero, some do not
// compress, most are in between, each with a size of its own. Making eight bytes costs a multiply,
// an add and a store: the guest may run under TCG.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hostd/base/units.h"

namespace ebb::guest {

struct PageId {
  uint64_t seed = 0;
  uint64_t address = 0;  // unique among all pages of a seed
  uint32_t version = 0;
};

// Writes the page's content to `page`, kPageBytes long and 8-byte aligned.
void FillPage(const PageId& id, void* page);

// Whether `page` holds exactly its content. The fast path of every check.
bool PageMatches(const PageId& id, const void* page);

// What a wrong page holds instead.
enum class WrongContent {
  kOther,
  kZero,          // all bytes zero: the page was lost
  kOlderVersion,  // a write was lost
  kRightByNow,    // the second look found it right: seen while it was being filled
};

struct PageDifference {
  uint64_t wrong_bytes = 0;
  size_t first_offset = 0;
  uint8_t expected = 0;
  uint8_t got = 0;
  WrongContent content = WrongContent::kOther;
  uint32_t older_version = 0;  // kOlderVersion only
};

// Says how a page that does not match differs. Never reports less than one wrong byte: the caller
// saw it differ.
PageDifference ComparePage(const PageId& id, const void* page);

const char* WrongContentName(WrongContent content);

}  // namespace ebb::guest
