// SPDX-License-Identifier: MIT
#pragma once

namespace ebb::explorer {

// What is allocated during a run of a world lies in an arena that the next run starts over with: a
// run ends in the middle of things, and nobody frees what its fibers hold. In sanitizer builds
// there is none, so that they see every allocation; what a run leaves behind is leaked there.
//
// While one exists, operator new of the whole program takes from the arena.
class RunArena {
 public:
  RunArena();
  ~RunArena();
  RunArena(const RunArena&) = delete;
  RunArena& operator=(const RunArena&) = delete;
};

// While it exists nothing is taken from the arena: for what outlives the run.
class OutsideArena {
 public:
  OutsideArena();
  ~OutsideArena();
  OutsideArena(const OutsideArena&) = delete;
  OutsideArena& operator=(const OutsideArena&) = delete;

 private:
  const bool was_open_;
};

}  // namespace ebb::explorer
