// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "hostd/page/ids.h"

namespace ebb {

// Where a page is in its life. Whoever moves a page into a state marked * owns it until it leaves.
//
//   Resident -> Cooling -> Guarded -> SwappingOut -> Dropping* -> Swapped -> SwappingIn* ->
//   Resident
//       \__________\_________\____________\-> Fixing* -> Resident      \-> Resident (discarded)
//                                                       SwappingIn* -> Lost -> SwappingIn*
enum class PageState : uint8_t {
  kResident = 0,  // in guest RAM, or a hole that was never used; a fresh word is all zeros
  kCooling,       // PTE zapped: a touch maps it again without asking
  kGuarded,       // write-protected, waiting for an I/O barrier
  kSwappingOut,   // being read and stored; a fault may still take it back
  kDropping,      // * stored; its memory is being punched out
  kSwapped,       // a hole in guest RAM; the word's SwapId has the content
  kSwappingIn,    // * the content is on its way back
  kFixing,        // * a fault or reclaim is making it accessible again
  kLost,          // cannot be produced; threads that touch it stay blocked, the VM is held
};
inline constexpr int kPageStates = 9;

const char* PageStateName(PageState state);

constexpr bool IsOwned(PageState state) {
  return state == PageState::kDropping || state == PageState::kSwappingIn ||
         state == PageState::kFixing;
}

// The arrows above, and SwappingIn -> Swapped, with which an owner undoes when the kernel asks for
// a retry. Nothing else.
constexpr bool IsLegalTransition(PageState from, PageState to) {
  using enum PageState;
  switch (to) {
    case kResident:
      return from == kFixing || from == kSwappingIn || from == kSwapped;
    case kCooling:
      return from == kResident;
    case kGuarded:
      return from == kCooling;
    case kSwappingOut:
      return from == kGuarded;
    case kDropping:
      return from == kSwappingOut;
    case kSwapped:
      return from == kDropping || from == kSwappingIn;
    case kSwappingIn:
      return from == kSwapped || from == kLost;
    case kFixing:
      return from == kResident || from == kCooling || from == kGuarded || from == kSwappingOut;
    case kLost:
      return from == kSwappingIn;
  }
  return false;
}

// The value of a page's atomic word. Layout (version 1, shared with later daemons):
//   bits 0-3 state, 4 waiter, 5 discarded, 8-31 generation, 32-63 SwapId
// The generation grows whenever the page becomes Resident, so that a compare-and-swap with a word
// read earlier fails if the page went through a whole life in between.
class PageWord {
 public:
  constexpr PageWord() = default;
  constexpr explicit PageWord(uint64_t bits) : bits_(bits) {}
  constexpr PageWord(PageState state, uint32_t generation, SwapId id)
      : bits_(static_cast<uint64_t>(state) |
              (static_cast<uint64_t>(generation & kGenerationMask) << kGenerationShift) |
              (static_cast<uint64_t>(id.value) << kIdShift)) {}

  constexpr uint64_t bits() const { return bits_; }
  constexpr PageState state() const { return static_cast<PageState>(bits_ & kStateMask); }
  constexpr uint32_t generation() const {
    return static_cast<uint32_t>(bits_ >> kGenerationShift) & kGenerationMask;
  }
  constexpr SwapId swap_id() const { return {static_cast<uint32_t>(bits_ >> kIdShift)}; }
  // Somebody found the page owned and waits for its owner to wake the page's threads.
  constexpr bool waiter() const { return (bits_ & kWaiterBit) != 0; }
  // The guest gave the page up while it was owned: its owner frees the record.
  constexpr bool discarded() const { return (bits_ & kDiscardedBit) != 0; }

  constexpr PageWord WithWaiter() const { return PageWord(bits_ | kWaiterBit); }
  constexpr PageWord WithDiscarded() const { return PageWord(bits_ | kDiscardedBit); }

  // The word after moving to `state`: flags cleared, generation grown on becoming Resident.
  constexpr PageWord MovedTo(PageState state, SwapId id) const {
    return {state, state == PageState::kResident ? generation() + 1 : generation(), id};
  }

  constexpr bool operator==(const PageWord&) const = default;

 private:
  static constexpr uint64_t kStateMask = 0xf;
  static constexpr uint64_t kWaiterBit = 1 << 4;
  static constexpr uint64_t kDiscardedBit = 1 << 5;
  static constexpr int kGenerationShift = 8;
  static constexpr uint32_t kGenerationMask = (1u << 24) - 1;
  static constexpr int kIdShift = 32;

  uint64_t bits_ = 0;
};

}  // namespace ebb
