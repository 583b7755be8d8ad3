// SPDX-License-Identifier: MIT
#include "tests/explorer/seen.h"

#include <xxhash.h>

#include "hostd/swap/swap_state.h"
#include "hostd/tiers/same_filled.h"
#include "tests/fakes/page_content.h"

namespace ebb::explorer {
namespace {

uint64_t Mix(uint64_t all, uint64_t part) { return XXH3_64bits_withSeed(&part, sizeof part, all); }

// The generations of words and of locations are taken out of them.
uint64_t WithoutGeneration(PageWord word) {
  const PageWord without(word.state(), 0, word.swap_id());
  return without.bits() | uint64_t{word.waiter()} << 8 | uint64_t{word.discarded()} << 9;
}
uint64_t WithoutGeneration(SwapLocation location) { return location.WithGeneration(0).bits(); }

}  // namespace

uint64_t Likeness::Words() const {
  uint64_t all = 0;
  for (uint64_t page = 0; page < pages_; ++page) {
    all = Mix(all, WithoutGeneration(state_->words().Load({page})));
  }
  return all;
}

// What free records were used for does not matter; in which order they will be used does.
uint64_t Likeness::Records() const {
  uint64_t all = 0;
  for (uint32_t id = 1; id <= records_; ++id) {
    const SwapDesc desc = state_->table().Load({id});
    all = Mix(all, WithoutGeneration(desc.location));
    all =
        Mix(all, desc.location.tier() == TierKind::kFree ? uint64_t{desc.location.generation() > 0}
                                                         : RightPages(desc));
  }
  for (const SwapId id : state_->table().UnusedIds()) all = Mix(all, id.value);
  return all;
}

uint64_t Likeness::RightPages(const SwapDesc& desc) const {
  if (desc.location.tier() != TierKind::kSameFilled) return 0;
  PageContent content;
  FillSame(content.data(), desc.location.same_filled_value());
  uint64_t pages = 0;
  for (uint64_t page = 0; page < pages_; ++page) {
    const uint32_t generation = state_->words().Load({page}).generation();
    const bool right = PageChecksum(content.data(), {page}, generation) == desc.checksum;
    pages |= uint64_t{right} << page;
  }
  return pages;
}

uint64_t Likeness::Of(const Sight& sight) const {
  uint64_t all = sight.size();
  for (const Seen& seen : sight) all = Mix(all, Of(seen));
  return all;
}

uint64_t Likeness::Of(const Seen& seen) const {
  switch (seen.kind) {
    case Seen::Kind::kValue:
      return seen.value;
    case Seen::Kind::kWord: {
      const PageWord word(seen.value);
      const PageWord now = state_->words().Load({seen.of});
      return WithoutGeneration(word) | uint64_t{word.generation() == now.generation()} << 10;
    }
    case Seen::Kind::kRecord: {
      const SwapLocation location(seen.value);
      const SwapLocation now = state_->table().Load({seen.of}).location;
      return Mix(WithoutGeneration(location),
                 seen.holds << 1 | uint64_t{location.generation() == now.generation()});
    }
  }
  return 0;
}

Seen Likeness::WordNow(PageIndex page) const {
  return Seen::Word(page, state_->words().Load(page));
}

Seen Likeness::RecordNow(SwapId id) const {
  const SwapDesc desc = state_->table().Load(id);
  return {Seen::Kind::kRecord, id.value, desc.location.bits(), RightPages(desc)};
}

}  // namespace ebb::explorer
