// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "hostd/swap/drop.h"
#include "hostd/swap/fault_server.h"
#include "hostd/swap/residency.h"
#include "hostd/swap/store_pages.h"
#include "hostd/swap/swap_state.h"
#include "hostd/swap/writeback.h"
#include "tests/fakes/fake_disk.h"
#include "tests/fakes/fake_guest_memory.h"
#include "tests/fakes/page_content.h"
#include "tests/hostd/tiers/pool/fake_pool_memory.h"
#include "tests/model/operation.h"

namespace ebb::model {

// ebbd's own engine for one VM, in one thread on the simulated kernel, and beside it a plain map of
// what the guest may read.
class Engine {
 public:
  static constexpr uint32_t kPages = 96;

  explicit Engine(bool with_disk);
  ~Engine();

  // What went wrong first; none if nothing did. Ends with everything brought back, and then
  // nothing may be left.
  std::optional<std::string> Run(std::span<const Operation> operations);
  // The same, but that the VM goes in the middle of it all. Nothing of it may be left on the disk.
  std::optional<std::string> RunAndGo(std::span<const Operation> operations);

  SwapState& state() { return *state_; }
  const FakeDisk& disk() const { return *disk_; }
  // Times a guest had to wait for a page that was spoilt.
  uint64_t times_held() const { return times_held_; }

 private:
  void Do(const Operation& operation);
  void Write(uint32_t page, uint32_t value);
  void Read(uint32_t page);
  void Guard(uint32_t first, uint32_t count);
  void Store();
  void Drop();
  void GiveBack();
  void Discard(uint32_t first, uint32_t count);
  void Spoil(uint32_t page, uint32_t where);
  void Heal();
  void WriteBack(uint64_t bytes);
  void DiskAnswers(size_t count);
  void DiskAnswersAll();
  void LookAtReads();
  void Finish();
  void ExpectNothingLeft();

  // Serves the guest as long as there is something to do within `patience_ns`.
  void Serve(int64_t patience_ns);
  // That thread is done, or waits for a page that cannot be produced now.
  bool MayGoOn(uint32_t page, FakeGuestMemory::ThreadId thread);
  bool IsSpoilt(uint32_t page);
  void Compare(uint32_t page, const PageContent& content);
  struct Spoilt;
  void FlipBit(const Spoilt& spoilt);
  void Fail(const std::string& what);

  FakeGuestMemory memory_{kPages};
  std::vector<std::byte> words_;
  std::vector<std::byte> records_;
  FakePoolMemory pool_;
  FakeDisk* disk_ = nullptr;  // of tier_
  std::optional<DiskTier> tier_;
  std::optional<SwapState> state_;
  Residency residency_;
  std::optional<Writeback> writeback_;
  std::optional<StorePages> store_pages_;
  std::optional<FaultServer> server_;
  int64_t now_ns_ = 1;

  std::deque<std::vector<ClaimedPage>> guarded_;
  std::deque<std::vector<StoredPage>> stored_;

  // What each page may read as: one content, or after a discard two.
  std::vector<std::vector<PageContent>> allowed_;
  // By page. Of another life of the page it is nothing any more, whatever its record is used for.
  struct Spoilt {
    uint32_t generation;  // of the page's word
    SwapId id;
    uint32_t where;
  };
  std::map<uint32_t, Spoilt> spoilt_;
  // Reads of pages that could not be produced.
  std::map<uint32_t, FakeGuestMemory::ThreadId> waiting_;
  // Reads that wait for the disk.
  std::map<uint32_t, FakeGuestMemory::ThreadId> reading_;
  bool reads_failed_ = false;  // some, since Heal
  uint64_t times_held_ = 0;
  std::optional<std::string> wrong_;
};

}  // namespace ebb::model
