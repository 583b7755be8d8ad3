// SPDX-License-Identifier: MIT
#include "hostd/page/record_readers.h"

#include "hostd/base/check.h"

namespace ebb {

RecordReaders::Reader::Reader(RecordReaders* readers) {
  for (Place& place : readers->places_) {
    if (place.taken.exchange(true)) continue;
    turns_ = &place.turns;
    taken_ = &place.taken;
    return;
  }
  EBB_CHECK(false, "more threads swap in than RecordReaders has places for");
}

RecordReaders::Reader::~Reader() { taken_->store(false); }

RecordReaders::Sight RecordReaders::Look() const {
  Sight seen;
  for (size_t i = 0; i < kMaxReaders; ++i) {
    seen[i] = places_[i].turns.load(std::memory_order_seq_cst);
  }
  return seen;
}

bool RecordReaders::HaveEnded(const Sight& seen) const {
  for (size_t i = 0; i < kMaxReaders; ++i) {
    const bool read_then = seen[i] % 2 != 0;
    if (read_then && places_[i].turns.load(std::memory_order_acquire) == seen[i]) return false;
  }
  return true;
}

}  // namespace ebb
