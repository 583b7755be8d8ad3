// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ebb::model {

// What can happen to a VM's pages, one thing after the other.
struct Operation {
  enum class Kind : uint8_t {
    kWrite,     // the guest writes the page; `value` says what
    kRead,      // the guest reads it, which must give what it wrote
    kGuard,     // reclaim guards pages from it on, `value` of them
    kStore,     // reclaim stores what was guarded first
    kDrop,      // what was stored first is dropped
    kGiveBack,  // what was guarded first goes back
    kDiscard,   // the balloon takes pages from it on, `value` of them
    kReap,
    kCompact,
    kRefuseFills,  // the kernel refuses to fill a page, for `value` times
    kFillHost,     // the host has no memory for the pool, if `value` is odd
    kSpoil,        // a bit of what is stored of the page turns over
    kHeal,         // all of those turn back
    kWriteBack,    // reclaim writes back, `value` KiB of the pool at the most
    kDiskAnswers,  // `value` reads and writes of those that wait for the disk, and one
    kFailReads,    // the next `value` reads of the disk fail
    kFailWrites,   // the next `value` writes
  };
  static constexpr int kKinds = 17;

  Kind kind;
  uint32_t page;
  uint32_t value;
};

// The same for the same seed.
std::vector<Operation> RandomOperations(uint64_t seed, size_t count, uint32_t pages);

// One a line, as C++ that can be pasted into a test.
std::string Describe(std::span<const Operation> operations);

}  // namespace ebb::model
