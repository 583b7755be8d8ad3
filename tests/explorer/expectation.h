// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace ebb::explorer {

// What a page may hold, kept by the test from what the guest did, independent of ebbd. Pages hold
// one value in all of their bytes; 0 is that of a fresh page.
class Expectation {
 public:
  explicit Expectation(std::byte value) : allowed_(Bit(value)), held_(allowed_) {}

  bool Allows(std::byte value) const { return (allowed_ & Bit(value)) != 0; }
  // Of a page that was on its way back when ebbd died, and is a hole since: the guest has discarded
  // it, and what it wrote between the two is not known to anybody.
  bool AllowsFromRecord(std::byte value) const {
    return Allows(value) || (discards_ > 0 && (held_ & Bit(value)) != 0);
  }

  // From its start on a discarded page may be zero, or what it was: old content is a legal answer
  // to a balloon. So may what is written before it is over.
  void DiscardStarted() {
    ++discards_;
    ++running_discards_;
    allowed_ |= Bit(std::byte{0});
  }
  void DiscardEnded() { --running_discards_; }
  int discards() const { return discards_; }

  void Written(std::byte value) {
    held_ |= Bit(value);
    allowed_ = running_discards_ > 0 ? allowed_ | Bit(value) : Bit(value);
  }
  // By a device that held the page since `discards` of them had started: what was discarded since
  // may have taken its data with it.
  void WrittenByDevice(std::byte value, int discards) {
    held_ |= Bit(value);
    if (discards == discards_) return Written(value);
    allowed_ |= Bit(value);
  }
  // Zero stays zero; old content may still go.
  void Read(std::byte value) {
    if (value == std::byte{0} && running_discards_ == 0) allowed_ = Bit(value);
  }

  uint64_t Fingerprint() const {
    return allowed_ | static_cast<uint64_t>(discards_) << 16 |
           static_cast<uint64_t>(running_discards_) << 24 | uint64_t{held_} << 32;
  }

 private:
  static uint16_t Bit(std::byte value) {
    return static_cast<uint16_t>(1u << static_cast<unsigned>(value));
  }

  uint16_t allowed_;
  uint16_t held_;
  int discards_ = 0;
  int running_discards_ = 0;
};

}  // namespace ebb::explorer
