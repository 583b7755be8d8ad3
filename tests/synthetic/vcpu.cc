// SPDX-License-Identifier: MIT
#include "tests/synthetic/vcpu.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "tests/synthetic/die.h"

namespace ebb::synthetic {
namespace {

constexpr size_t kScratchBytes = 64 * 1024;

// The slices that a VCPU works on most of the time, and for how long.
constexpr size_t kHotSlices = 256;
constexpr uint64_t kHotOperations = 20000;

struct Share {
  Operation operation;
  uint64_t percent;
};
// Besides, one operation in so many is a chase: it takes as long as many others.
constexpr uint64_t kChaseEvery = 500;
constexpr uint64_t kChaseEveryWhileMoving = 50;
constexpr size_t kChaseSlices = 16;

constexpr std::array<Share, kOperations - 1> kShares = {{
    {Operation::kLoad, 31},
    {Operation::kStore, 14},
    {Operation::kUpdate, 19},
    {Operation::kWriteFrom, 7},
    {Operation::kReadInto, 7},
    {Operation::kPipeFrom, 5},
    {Operation::kPipeInto, 5},
    {Operation::kDirectRead, 2},
    {Operation::kDirectWrite, 1},
    {Operation::kRingWrite, 1},
    {Operation::kRingRead, 2},
    {Operation::kRingDirectRead, 2},
    {Operation::kRingDirectWrite, 1},
    {Operation::kDiscard, 3},
}};

}  // namespace

const char* OperationName(Operation operation) {
  switch (operation) {
    case Operation::kLoad:
      return "load";
    case Operation::kStore:
      return "store";
    case Operation::kUpdate:
      return "update";
    case Operation::kWriteFrom:
      return "write_from";
    case Operation::kReadInto:
      return "read_into";
    case Operation::kPipeFrom:
      return "pipe_from";
    case Operation::kPipeInto:
      return "pipe_into";
    case Operation::kDirectRead:
      return "direct_read";
    case Operation::kDirectWrite:
      return "direct_write";
    case Operation::kRingWrite:
      return "ring_write";
    case Operation::kRingRead:
      return "ring_read";
    case Operation::kRingDirectRead:
      return "ring_direct_read";
    case Operation::kRingDirectWrite:
      return "ring_direct_write";
    case Operation::kDiscard:
      return "discard";
    case Operation::kChase:
      return "chase";
  }
  return "?";
}

Vcpu::Vcpu(const Parts& parts, uint32_t index, Counts* counts)
    : parts_(parts),
      name_("vcpu " + std::to_string(index)),
      random_(parts.seed * kVcpus + index),
      slices_({parts.ram, parts.content, parts.mistakes}, index),
      counts_(counts),
      file_(memfd_create("synthetic-file", MFD_CLOEXEC)) {
  int ends[2];
  if (!file_.valid() || pipe2(ends, O_CLOEXEC) != 0) Die("creating a file and a pipe");
  pipe_read_ = UniqueFd(ends[0]);
  pipe_write_ = UniqueFd(ends[1]);
  if (parts.disk->valid()) scratch_ = DirectFile::Create(parts.disk_folders, kScratchBytes);
}

void Vcpu::Fill() { slices_.Fill(); }

void Vcpu::VerifyAll() {
  for (size_t i = 0; i < slices_.count(); ++i) {
    Begin("verification", slices_.page(i));
    slices_.Verify(i, "verification");
  }
  Idle();
}

// Most of the time in a hot part that moves on now and then; else walking through all of RAM, or
// anywhere.
size_t Vcpu::ChooseSlice() {
  if (chosen_++ % kHotOperations == 0) hot_from_ = random_.Below(slices_.count());
  const uint64_t way = random_.Below(100);
  if (way < 93) return (hot_from_ + random_.Below(kHotSlices)) % slices_.count();
  if (way < 97) return walk_at_++ % slices_.count();
  return random_.Below(slices_.count());
}

Operation Vcpu::ChooseOperation(size_t slice) {
  if (parts_.punch_front != nullptr) {
    const uint64_t chase_every =
        parts_.punch_front->is_moving() ? kChaseEveryWhileMoving : kChaseEvery;
    if (chosen_ % chase_every == 0) return Operation::kChase;
  }
  uint64_t left = random_.Below(100);
  Operation chosen = Operation::kLoad;
  for (const Share& share : kShares) {
    chosen = share.operation;
    if (left < share.percent) break;
    left -= share.percent;
  }
  // Not every slice can have everything done to it.
  const bool direct = chosen == Operation::kDirectRead || chosen == Operation::kDirectWrite ||
                      chosen == Operation::kRingDirectRead || chosen == Operation::kRingDirectWrite;
  if (chosen == Operation::kDiscard && !slices_.is_whole_page(slice)) return Operation::kLoad;
  if (direct && (!scratch_.valid() || slices_.bytes(slice) % scratch_.alignment() != 0)) {
    return Operation::kLoad;
  }
  return chosen;
}

void Vcpu::RunOne() {
  const size_t slice = ChooseSlice();
  const Operation operation = ChooseOperation(slice);
  Begin(OperationName(operation), slices_.page(slice));
  const uint64_t done = Run(operation, slice);
  Idle();
  (*counts_)[static_cast<size_t>(operation)].fetch_add(done, std::memory_order_relaxed);
}

uint64_t Vcpu::Run(Operation operation, size_t slice) {
  switch (operation) {
    case Operation::kLoad:
      slices_.Verify(slice, "load");
      return 1;
    case Operation::kStore:
      Store(slice);
      return 1;
    case Operation::kUpdate:
      slices_.Verify(slice, "update");
      Store(slice);
      return 1;
    case Operation::kWriteFrom:
      WriteFrom(slice, file_.get(), false);
      return 1;
    case Operation::kReadInto:
      ReadInto(slice, file_.get(), false);
      return 1;
    case Operation::kPipeFrom:
      WriteFrom(slice, pipe_write_.get(), true);
      return 1;
    case Operation::kPipeInto:
      ReadInto(slice, pipe_write_.get(), true);
      return 1;
    case Operation::kDirectRead:
      return DirectRead(slice);
    case Operation::kDirectWrite:
      return DirectWrite(slice);
    case Operation::kRingWrite:
      return RingWrite(slice);
    case Operation::kRingRead:
      return RingRead(slice);
    case Operation::kRingDirectRead:
      return RingDirectRead(slice);
    case Operation::kRingDirectWrite:
      return RingDirectWrite(slice);
    case Operation::kDiscard:
      Discard(slice);
      return 1;
    case Operation::kChase:
      return Chase();
  }
  return 0;
}

Stamp::Kind Vcpu::ChooseKind() {
  if (random_.Chance(10)) return Stamp::Kind::kFilled;
  return random_.Chance(parts_.random_percent) ? Stamp::Kind::kRandom : Stamp::Kind::kWords;
}

void Vcpu::Store(size_t slice) { slices_.Write(slice, slices_.NextStamp(slice, ChooseKind())); }

uint64_t Vcpu::Chase() {
  const std::optional<uint64_t> page = parts_.punch_front->Await();
  if (!page) return 0;
  const size_t first = slices_.FirstAtOrAfter(*page);
  const size_t end = std::min(first + kChaseSlices, slices_.count());
  for (size_t slice = first; slice < end; ++slice) {
    if (random_.Chance(50)) {
      slices_.Verify(slice, "load while chasing");
    } else {
      Store(slice);
    }
  }
  return end - first;
}

void Vcpu::Discard(size_t slice) {
  if (!parts_.ram->Discard(slices_.page(slice))) {
    return parts_.mistakes->NoteFailed(name_ + ": discard");
  }
  slices_.Discard(slice);
}

}  // namespace ebb::synthetic
