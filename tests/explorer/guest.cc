// SPDX-License-Identifier: MIT
#include "tests/explorer/guest.h"

#include <xxhash.h>

#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/check.h"
#include "tests/fakes/page_content.h"

namespace ebb::explorer {

using ThreadId = FakeGuestMemory::ThreadId;

// Something the guest or QEMU does, until QEMU exits.
class Guest::Part : public Actor {
 public:
  Part(Guest* guest, std::string name) : guest_(guest), name_(std::move(name)) {}

  bool CanStep() const final { return !guest_->exited_ && CanGoOn(); }
  std::string Describe() const override { return name_; }
  uint64_t Fingerprint() const override { return static_cast<uint64_t>(stage_); }

 protected:
  virtual bool CanGoOn() const = 0;
  FakeGuestMemory& kernel() const { return *guest_->kernel_; }

  Guest* const guest_;
  const std::string name_;
  int stage_ = 0;
};

// A thread that reads or overwrites a page once, however often it faults on the way.
class Guest::Access : public Part {
 public:
  Access(Guest* guest, PageIndex page, std::optional<std::byte> written)
      : Part(guest, absl::StrFormat("thread %s page %d", written ? "writes" : "reads", page.value)),
        page_(page),
        written_(written) {}

  bool CanGoOn() const override {
    return stage_ == 0 || (stage_ == 1 && kernel().IsRunnable(*thread_));
  }
  void Step() override {
    if (thread_) {
      kernel().Run(*thread_);
    } else {
      thread_ = written_ ? kernel().StartOverwrite(page_, *written_) : kernel().StartRead(page_);
      guest_->threads_.push_back(*thread_);
    }
    stage_ = 1;
    if (!kernel().Blocked(*thread_)) Finish();
  }

 private:
  void Finish() {
    stage_ = 2;
    --guest_->unfinished_;
    Expectation& expected = guest_->Expected(page_);
    if (written_) return expected.Written(*written_);
    const PageContent content = kernel().ContentRead(*thread_);
    if (!expected.Allows(content.front()) || content != FilledWith(content.front())) {
      guest_->wrong_ = absl::StrFormat("a thread read %d from page %d",
                                       static_cast<int>(content.front()), page_.value);
    }
    expected.Read(content.front());
  }

  const PageIndex page_;
  const std::optional<std::byte> written_;
  std::optional<ThreadId> thread_;
};

// A disk read into a page: holds it, and writes to it some time later.
class Guest::Device : public Part {
 public:
  Device(Guest* guest, PageIndex page, std::byte value)
      : Part(guest, absl::StrFormat("device writes page %d", page.value)),
        page_(page),
        value_(value) {}

  bool CanGoOn() const override {
    return stage_ == 0 || stage_ == 2 || (stage_ == 1 && kernel().IsRunnable(*request_));
  }
  void Step() override {
    if (stage_ == 0) {
      ++guest_->requests_in_flight_;
      request_ = kernel().StartPin(page_);
      guest_->threads_.push_back(*request_);
      stage_ = 1;
    } else if (stage_ == 1) {
      kernel().Run(*request_);
    } else {
      return Finish();
    }
    if (kernel().Blocked(*request_)) return;
    discards_ = guest_->Expected(page_).discards();
    stage_ = 2;
  }
  std::string Describe() const override {
    return name_ + (stage_ == 2 ? ": the data" : ": takes hold");
  }
  uint64_t Fingerprint() const override {
    return static_cast<uint64_t>(stage_) | uint64_t{drained_} << 8 |
           static_cast<uint64_t>(discards_) << 16;
  }

  // A barrier starts, and will wait for this request if it is in flight.
  bool BeginDrain() { return drained_ = stage_ == 1 || stage_ == 2; }

 private:
  void Finish() {
    kernel().FinishPin(*request_, value_);
    guest_->Expected(page_).WrittenByDevice(value_, discards_);
    stage_ = 3;
    --guest_->unfinished_;
    --guest_->requests_in_flight_;
    if (std::exchange(drained_, false)) --guest_->drained_requests_left_;
  }

  const PageIndex page_;
  const std::byte value_;
  std::optional<ThreadId> request_;
  int discards_ = 0;
  bool drained_ = false;
};

// What QEMU's balloon does with a page the guest gives up: fallocate, then madvise.
class Guest::Balloon : public Part {
 public:
  Balloon(Guest* guest, PageIndex page)
      : Part(guest, absl::StrFormat("balloon discards page %d", page.value)), page_(page) {}

  bool CanGoOn() const override {
    return stage_ < 2 || (stage_ == 2 && kernel().MapChanges() && !kernel().HasUnreadRemoves());
  }
  void Step() override {
    switch (stage_++) {
      case 0:
        guest_->Expected(page_).DiscardStarted();
        kernel().PunchByGuest({page_, 1});
        return;
      case 1:
        kernel().Advise({page_, 1});
        return;
      default:
        kernel().FinishRemoves();
        guest_->Expected(page_).DiscardEnded();
        --guest_->unfinished_;
    }
  }
  std::string Describe() const override {
    constexpr const char* kSteps[] = {": punch", ": madvise, until it is read", ": zap", ""};
    return name_ + kSteps[stage_];
  }

 private:
  const PageIndex page_;
};

// Each makes one waiting thread fault again.
class Guest::Signals : public Part {
 public:
  Signals(Guest* guest, int count) : Part(guest, "signal"), left_(count) {}

  bool CanGoOn() const override { return left_ > 0 && Waiting().has_value(); }
  void Step() override {
    kernel().Interrupt(*Waiting());
    --left_;
  }
  uint64_t Fingerprint() const override { return static_cast<uint64_t>(left_); }

 private:
  // The first of those whose message was read: it will be sent a second time.
  std::optional<ThreadId> Waiting() const {
    for (const ThreadId thread : guest_->threads_) {
      if (kernel().IsOwed(thread)) return thread;
    }
    return std::nullopt;
  }

  int left_;
};

// Answers barriers: they start when ebbd asks for one, and are over when every request that was in
// flight then is.
class Guest::MainLoop : public Part {
 public:
  MainLoop(Guest* guest, std::vector<Device*> devices)
      : Part(guest, "barrier"), devices_(std::move(devices)) {}

  bool CanGoOn() const override {
    const ExploredBarrier& barrier = *guest_->barrier_;
    return barrier.running() ? guest_->drained_requests_left_ == 0 : barrier.CanStart();
  }
  void Step() override {
    ExploredBarrier& barrier = *guest_->barrier_;
    if (barrier.running()) return barrier.Complete();
    barrier.Start();
    for (Device* device : devices_) {
      if (device->BeginDrain()) ++guest_->drained_requests_left_;
    }
  }
  std::string Describe() const override {
    return guest_->barrier_->running() ? "barrier completes" : "barrier starts";
  }

 private:
  const std::vector<Device*> devices_;
};

// The kernel takes a page out of the page table, as its own reclaim does on trial: even one that a
// device holds, since it looks for such holders later.
class Guest::Zap : public Part {
 public:
  Zap(Guest* guest, int count) : Part(guest, "the kernel zaps the page"), left_(count) {}

  bool CanGoOn() const override { return left_ > 0; }
  void Step() override {
    kernel().ZapPtes({{0}, 1});
    --left_;
  }
  uint64_t Fingerprint() const override { return static_cast<uint64_t>(left_); }

 private:
  int left_;
};

// Another process writes to the RAM memfd where there is a hole.
class Guest::ForeignWrite : public Part {
 public:
  ForeignWrite(Guest* guest, int count) : Part(guest, "another process writes"), left_(count) {}

  bool CanGoOn() const override { return left_ > 0 && kernel().Look({0}).hole; }
  void Step() override {
    kernel().WriteBehindTheBack({0}, FilledWith(std::byte{0xee}));
    --left_;
  }
  uint64_t Fingerprint() const override { return static_cast<uint64_t>(left_); }

 private:
  int left_;
};

class Guest::Exit : public Part {
 public:
  explicit Exit(Guest* guest) : Part(guest, "QEMU exits") {}

  bool CanGoOn() const override { return true; }
  void Step() override {
    guest_->exited_ = true;
    kernel().SetGone();
  }
};

// Something of the kernel's fails the next time.
class Guest::Failure : public Part {
 public:
  Failure(Guest* guest, GuestOp op, OsResult result, int count)
      : Part(guest, absl::StrFormat("the next %s fails", GuestOpName(op))),
        op_(op),
        result_(result),
        left_(count) {}

  bool CanGoOn() const override { return left_ > 0; }
  void Step() override {
    kernel().FailNext(op_, result_);
    --left_;
  }
  uint64_t Fingerprint() const override { return static_cast<uint64_t>(left_); }

 private:
  const GuestOp op_;
  const OsResult result_;
  int left_;
};

Guest::Guest(const Scenario& scenario, FakeGuestMemory* kernel, ExploredBarrier* barrier)
    : scenario_(scenario), kernel_(kernel), barrier_(barrier) {
  for (uint64_t page = 0; page < scenario.pages; ++page) {
    const std::byte value{static_cast<unsigned char>(scenario.populated ? 1 : 0)};
    expected_.emplace_back(value);
    if (scenario.populated) kernel->Populate({page}, FilledWith(value));
  }
}

std::vector<std::unique_ptr<Actor>> Guest::MakeActors() {
  std::vector<std::unique_ptr<Actor>> actors;
  std::vector<Device*> devices;
  uint64_t turn = 0;
  unsigned char next_value = 2;
  const auto next_page = [&] { return PageIndex{turn++ % scenario_.pages}; };
  for (int i = 0; i < scenario_.readers; ++i) {
    actors.push_back(std::make_unique<Access>(this, next_page(), std::nullopt));
  }
  turn = 0;
  for (int i = 0; i < scenario_.writers; ++i) {
    actors.push_back(std::make_unique<Access>(this, next_page(), std::byte{next_value++}));
  }
  turn = 0;
  for (int i = 0; i < scenario_.devices; ++i) {
    auto device = std::make_unique<Device>(this, next_page(), std::byte{next_value++});
    devices.push_back(device.get());
    actors.push_back(std::move(device));
  }
  turn = 0;
  for (int i = 0; i < scenario_.discards; ++i) {
    actors.push_back(std::make_unique<Balloon>(this, next_page()));
  }
  unfinished_ = static_cast<int>(actors.size());
  if (scenario_.signals > 0) actors.push_back(std::make_unique<Signals>(this, scenario_.signals));
  actors.push_back(std::make_unique<MainLoop>(this, std::move(devices)));
  actors.push_back(std::make_unique<Failure>(this, GuestOp::kFill, OsResult::kNoMemory,
                                             scenario_.refused_fills));
  actors.push_back(std::make_unique<Failure>(this, GuestOp::kPunch, OsResult::kFailed,
                                             scenario_.failed_punches));
  actors.push_back(std::make_unique<Failure>(this, GuestOp::kWriteProtect, OsResult::kDone,
                                             scenario_.lost_protections));
  if (scenario_.zaps > 0) actors.push_back(std::make_unique<Zap>(this, scenario_.zaps));
  if (scenario_.foreign_writes > 0) {
    actors.push_back(std::make_unique<ForeignWrite>(this, scenario_.foreign_writes));
  }
  if (scenario_.qemu_exits) actors.push_back(std::make_unique<Exit>(this));
  return actors;
}

uint64_t Guest::Fingerprint() const {
  uint64_t all = uint64_t{exited_};
  for (const Expectation& page : expected_) {
    const uint64_t one = page.Fingerprint();
    all = XXH3_64bits_withSeed(&one, sizeof one, all);
  }
  return all;
}

}  // namespace ebb::explorer
