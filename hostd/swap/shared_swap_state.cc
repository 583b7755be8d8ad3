// SPDX-License-Identifier: MIT
#include "hostd/swap/shared_swap_state.h"

#include <algorithm>
#include <utility>

#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

// Records beyond one a page: of pages that were taken back while their copy waited to be dropped.
constexpr uint64_t kSpareRecords = 4096;

// What a SwapLocation can name, and the allocator, which counts pages in 32 bits.
constexpr uint64_t kMaxPoolBytes = std::min(
    (uint64_t{1} << SwapLocation::kPoolHandleBits) * kPoolGrainBytes, PagesToBytes(UINT32_MAX / 2));

// A span of each size class and some to spare: with less a pool is full while it is nearly empty.
constexpr uint64_t kMinPoolBytes = 16 * kMiB;

// Addresses for each byte that the pool may hold: a run of pages that was given back serves only
// spans of its length or less.
constexpr uint64_t kAddressesPerByte = 8;

// The highest ids mean something else (kZeroPageId, and in the pool).
constexpr uint64_t kMaxRecords = UINT32_MAX - 2;

uint32_t RecordsFor(uint64_t pages) { return static_cast<uint32_t>(pages + kSpareRecords); }

}  // namespace

uint64_t SharedSwapState::MetadataBytes(uint64_t pages) {
  return PageWords::BytesFor(pages) + SwapDescTable::BytesFor(RecordsFor(pages));
}

absl::StatusOr<std::unique_ptr<SharedSwapState>> SharedSwapState::Create(uint64_t pages,
                                                                         const HostTiers& tiers) {
  if (pages + kSpareRecords >= kMaxRecords) {
    return absl::InvalidArgumentError("the VM has more RAM than Ebb can manage (16 TiB)");
  }
  EBB_ASSIGN_OR_RETURN(SharedMemory words,
                       SharedMemory::Create("ebb-words", PageWords::BytesFor(pages)));
  EBB_ASSIGN_OR_RETURN(
      SharedMemory records,
      SharedMemory::Create("ebb-records", SwapDescTable::BytesFor(RecordsFor(pages))));
  EBB_ASSIGN_OR_RETURN(
      SharedMemory pool,
      SharedMemory::Create("ebb-pool", std::clamp(PagesToBytes(pages) * kAddressesPerByte,
                                                  kMinPoolBytes, kMaxPoolBytes)));
  // The fault path must never meet memory that is not there.
  if (!words.Populate(0, words.bytes()) || !records.Populate(0, records.bytes())) {
    return absl::ResourceExhaustedError("the host has no memory for the VM's page words");
  }
  std::unique_ptr<DiskShare> disk_share;
  if (tiers.disk != nullptr) {
    EBB_ASSIGN_OR_RETURN(disk_share, DiskShare::Create(tiers.disk));
  }
  return std::unique_ptr<SharedSwapState>(
      new SharedSwapState({std::move(words), std::move(records), std::move(pool)},
                          tiers.pool_budget, std::move(disk_share), pages));
}

// A VM's weight is its size: what it may have swapped out grows with it.
SharedSwapState::SharedPoolMemory::SharedPoolMemory(SharedMemory memory, PoolBudget* budget,
                                                    uint64_t weight)
    : memory_(std::move(memory)), budget_(budget), weight_(weight) {
  if (budget_ != nullptr) budget_->Join(weight_);
}

bool SharedSwapState::SharedPoolMemory::Allocate(uint64_t offset, uint64_t bytes) {
  if (budget_ != nullptr && !budget_->TryTake(bytes)) return false;
  if (!memory_.Populate(offset, bytes)) {
    if (budget_ != nullptr) budget_->GiveBack(bytes);
    return false;
  }
  taken_bytes_ += bytes;
  return true;
}

void SharedSwapState::SharedPoolMemory::Free(uint64_t offset, uint64_t bytes) {
  memory_.Free(offset, bytes);
  taken_bytes_ -= bytes;
  if (budget_ != nullptr) budget_->GiveBack(bytes);
}

uint64_t SharedSwapState::SharedPoolMemory::ExcessBytes() const {
  return budget_ != nullptr ? budget_->Excess(taken_bytes_, weight_) : 0;
}

SharedSwapState::SharedPoolMemory::~SharedPoolMemory() {
  if (budget_ == nullptr) return;
  budget_->GiveBack(taken_bytes_);
  budget_->Leave(weight_);
}

SharedSwapState::SharedSwapState(Memfds memfds, PoolBudget* pool_budget,
                                 std::unique_ptr<DiskShare> disk, uint64_t pages)
    : words_(std::move(memfds.words)),
      records_(std::move(memfds.records)),
      pool_(std::move(memfds.pool), pool_budget, pages),
      state_({words_.data(), records_.data(), &pool_}, pages, RecordsFor(pages), std::move(disk)) {}

absl::StatusOr<std::array<UniqueFd, 3>> SharedSwapState::OpenReadOnly() const {
  std::array<UniqueFd, 3> fds;
  EBB_ASSIGN_OR_RETURN(fds[0], words_.OpenReadOnly());
  EBB_ASSIGN_OR_RETURN(fds[1], records_.OpenReadOnly());
  EBB_ASSIGN_OR_RETURN(fds[2], pool_.shared().OpenReadOnly());
  return fds;
}

}  // namespace ebb
