// SPDX-License-Identifier: MIT
#include "hostd/swap/writeback_order.h"

#include <algorithm>
#include <utility>

#include "hostd/base/check.h"

namespace ebb {
namespace {

// A generation is a sixteenth of what is in the pool: so exact is the order.
constexpr uint64_t kGenerationShare = 16;
constexpr uint64_t kMinGeneration = 64;

}  // namespace

void WritebackOrder::Add(SwapId id, bool second_chance) {
  BeginGenerationIfDue();
  const uint8_t youngest = youngest_.load(std::memory_order_relaxed);
  table_->SetAge(id, youngest, second_chance);
  ++in_generation_[youngest];
  ++objects_;
  ++added_;
}

void WritebackOrder::Remove(SwapId id) {
  const uint8_t generation = table_->Age(id);
  if (generation == kNone) return;
  EBB_CHECK(in_generation_[generation] > 0, "a record of a generation that has none");
  --in_generation_[generation];
  --objects_;
  table_->SetAge(id, kNone, false);
  FindOldest();
}

std::optional<WritebackOrder::Taken> WritebackOrder::TakeOldest() {
  const uint32_t ids = table_->ids_used();
  // A round finds all of the oldest; a second one those that had another chance.
  for (uint64_t looked = 0; objects_ > 0 && looked < uint64_t{2} * ids; ++looked) {
    const SwapId id = hand_;
    hand_.value = id.value >= ids ? 1 : id.value + 1;
    if (id.value > ids || table_->Age(id) != oldest_) continue;
    if (table_->HasSecondChance(id)) {
      Remove(id);
      Add(id, false);
      continue;
    }
    const uint8_t generation = oldest_;
    Remove(id);
    return Taken{id, generation};
  }
  return std::nullopt;
}

void WritebackOrder::PutBack(SwapId id, uint8_t generation) {
  const uint8_t youngest = youngest_.load(std::memory_order_relaxed);
  // Its number may be in use again, if very many generations have begun since.
  if (Distance(generation, youngest) > kNumbers - 2) generation = oldest_;
  if (objects_ == 0 || Distance(generation, youngest) > Distance(oldest_, youngest)) {
    oldest_ = generation;
  }
  table_->SetAge(id, generation, false);
  ++in_generation_[generation];
  ++objects_;
}

std::optional<uint32_t> WritebackOrder::GenerationsSince(SwapId id) const {
  const uint8_t generation = table_->Age(id);
  if (generation == kNone) return std::nullopt;
  return Distance(generation, youngest_.load(std::memory_order_relaxed));
}

void WritebackOrder::BeginGenerationIfDue() {
  if (added_ < std::max(objects_ / kGenerationShare, kMinGeneration)) return;
  added_ = 0;
  const uint8_t next = After(youngest_.load(std::memory_order_relaxed));
  if (After(next) == oldest_) MergeOldest();
  youngest_.store(next, std::memory_order_relaxed);
  FindOldest();
}

// The two oldest become one, so that a number is free: only where nothing is written back for long.
void WritebackOrder::MergeOldest() {
  const uint8_t merged = oldest_;
  oldest_ = After(merged);
  for (SwapId id{1}; id.value <= table_->ids_used(); ++id.value) {
    if (table_->Age(id) == merged) table_->SetAge(id, oldest_, table_->HasSecondChance(id));
  }
  in_generation_[oldest_] += std::exchange(in_generation_[merged], 0);
}

void WritebackOrder::FindOldest() {
  const uint8_t youngest = youngest_.load(std::memory_order_relaxed);
  while (oldest_ != youngest && in_generation_[oldest_] == 0) oldest_ = After(oldest_);
}

}  // namespace ebb
