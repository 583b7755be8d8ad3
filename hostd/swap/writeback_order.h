// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "hostd/page/ids.h"
#include "hostd/page/swap_desc_table.h"

namespace ebb {

// In which order a VM's pool is written back: the oldest first, by generations. Each record carries
// the generation in which its object came into the pool; a hand goes round the table for records of
// the oldest one that there is. Costs no memory of its own, and no work where nothing is written.
//
// Belongs to the reclaim thread, but for GenerationsSince.
class WritebackOrder {
 public:
  // `table` must outlive this.
  explicit WritebackOrder(SwapDescTable* table) : table_(table) {}

  // Its object has come into the pool; `second_chance`: it is passed by once.
  void Add(SwapId id, bool second_chance);
  // Its object is gone. Nothing happens to a record that is not in this order.
  void Remove(SwapId id);

  // A record of the oldest generation, which is in this order no more; none when there is none.
  struct Taken {
    SwapId id;
    uint8_t generation = 0;
  };
  std::optional<Taken> TakeOldest();
  // It stays in the pool after all, as old as it was.
  void PutBack(SwapId id, uint8_t generation);

  // How many generations have begun since that object came into the pool; none for what is not in
  // this order. Any thread that owns the page.
  std::optional<uint32_t> GenerationsSince(SwapId id) const;

  uint64_t objects() const { return objects_; }

 private:
  // Generations are numbered round 1 to 255; 0 is of a record that is not in this order.
  static constexpr uint8_t kNone = 0;
  static constexpr uint32_t kNumbers = 255;
  static uint8_t After(uint8_t generation) {
    return generation == kNumbers ? 1 : static_cast<uint8_t>(generation + 1);
  }
  static uint32_t Distance(uint8_t from, uint8_t to) { return (to + kNumbers - from) % kNumbers; }

  void BeginGenerationIfDue();
  void MergeOldest();
  void FindOldest();

  SwapDescTable* const table_;
  std::array<uint64_t, kNumbers + 1> in_generation_{};
  uint64_t objects_ = 0;
  std::atomic<uint8_t> youngest_{1};
  uint8_t oldest_ = 1;
  uint64_t added_ = 0;  // to the youngest
  SwapId hand_{1};
};

}  // namespace ebb
