// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "tests/synthetic/direct_file.h"
#include "tests/synthetic/guest_ram.h"
#include "tests/synthetic/in_flight.h"
#include "tests/synthetic/mistakes.h"
#include "tests/synthetic/punch_front.h"
#include "tests/synthetic/random.h"
#include "tests/synthetic/ring.h"
#include "tests/synthetic/slices.h"
#include "tests/synthetic/worker.h"

namespace ebb::synthetic {

enum class Operation {
  kLoad,         // verify with loads
  kStore,        // write a new version without looking
  kUpdate,       // verify, then write a new version
  kWriteFrom,    // pwrite(2) from guest memory into a file
  kReadInto,     // pread(2) from a file into guest memory
  kPipeFrom,     // write(2) from guest memory into a pipe
  kPipeInto,     // read(2) from a pipe into guest memory
  kDirectRead,   // O_DIRECT from the disk into guest memory: the device writes into it
  kDirectWrite,  // O_DIRECT from guest memory to the disk
  kRingWrite,    // the same four by an io_uring: from guest memory into a file
  kRingRead,
  kRingDirectRead,
  kRingDirectWrite,
  kDiscard,  // give the page back, as the balloon does
  kChase,    // load or write pages that are about to be dropped
};
inline constexpr size_t kOperations = 15;
const char* OperationName(Operation operation);

// One processor of the guest, and the part of QEMU that works for it: hammers its slices with all
// operations, in an order that a seed repeats. Thread-bound, but for progress() and counts.
class Vcpu : public Worker {
 public:
  struct Parts {
    GuestRam* ram;
    const Content* content;
    Mistakes* mistakes;
    InFlight* in_flight;
    PunchFront* punch_front;  // null: no chase
    const DirectFile* disk;   // with the sectors to read; direct I/O is left out if it is not valid
    std::vector<std::string> disk_folders;
    uint64_t seed;
    uint64_t random_percent = 0;  // of what is written does not compress
  };
  // Slices operated on, by operation; shared by all VCPUs.
  using Counts = std::array<std::atomic<uint64_t>, kOperations>;

  Vcpu(const Parts& parts, uint32_t index, Counts* counts);

  void Fill() override;
  void RunOne() override;
  void VerifyAll() override;

 private:
  size_t ChooseSlice();
  Operation ChooseOperation(size_t slice);
  // How many slices it worked on.
  uint64_t Run(Operation operation, size_t slice);

  void Store(size_t slice);
  void WriteFrom(size_t slice, int fd, bool is_pipe);
  void ReadInto(size_t slice, int fd, bool is_pipe);
  uint64_t DirectRead(size_t slice);
  uint64_t DirectWrite(size_t slice);
  uint64_t RingWrite(size_t slice);
  uint64_t RingRead(size_t slice);
  uint64_t RingDirectRead(size_t slice);
  uint64_t RingDirectWrite(size_t slice);
  void Discard(size_t slice);
  uint64_t Chase();

  // Slices from `slice` on that one direct request may have, at most `most`; for other requests
  // where `alignment` is 1.
  std::vector<size_t> SlicesFor(size_t slice, size_t most, size_t alignment);
  // A place on the disk that has so many bytes behind it.
  uint32_t ChooseSector(size_t bytes);
  bool RunRing(const std::vector<size_t>& slices, bool writes, int fd, uint32_t first_sector);
  void ExpectSectors(const std::vector<size_t>& slices, uint32_t first_sector);
  uint64_t VerifyWritten(const std::vector<size_t>& slices, int fd, const char* how);
  Stamp::Kind ChooseKind();

  const Parts parts_;
  const std::string name_;
  Random random_;
  Slices slices_;
  Counts* const counts_;

  UniqueFd file_;
  UniqueFd pipe_read_;
  UniqueFd pipe_write_;
  DirectFile scratch_;
  Ring ring_;
  alignas(kPageBytes) std::array<uint64_t, kPageBytes / sizeof(uint64_t)> buffer_ = {};

  size_t hot_from_ = 0;
  size_t walk_at_ = 0;
  uint64_t chosen_ = 0;
};

}  // namespace ebb::synthetic
