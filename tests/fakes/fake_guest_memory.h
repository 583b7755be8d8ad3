// SPDX-License-Identifier: MIT
// A simulated kernel and guest: one VM's shmem RAM under a userfaultfd, page by page, with exactly
// the semantics that were measured (hostd/os/userfaultfd.h, kernel_probe.cc checks the real one).
//
// Deterministic: nothing happens but by a call. A guest thread that is woken touches its page again
// at once, inside the call that woke it, unless SetAutoRun(false); then Run() is a step of its own,
// for tests that try every order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hostd/base/mutex.h"
#include "hostd/base/units.h"
#include "hostd/os/guest_memory.h"
#include "hostd/os/wake_event.h"
#include "hostd/page/page_words.h"
#include "tests/fakes/page_content.h"

namespace ebb {

// The operations of GuestMemory that a test can make fail, order, or count.
enum class GuestOp {
  kRegister,
  kUnregister,
  kUnprotect,
  kFill,
  kFillZero,
  kWriteProtect,
  kWake,
  kZapPtes,
  kReadPtes,
  kRead,
  kPunch,
  kFindUnmapped,
};
const char* GuestOpName(GuestOp op);

class FakeGuestMemory : public GuestMemory {
 public:
  // `mappings`: sizes in pages of the RAM mappings, laid end to end.
  explicit FakeGuestMemory(std::vector<uint64_t> mappings);
  explicit FakeGuestMemory(uint64_t pages) : FakeGuestMemory(std::vector<uint64_t>{pages}) {}

  uint64_t pages() const override;
  PageRange FirstRun(PageRange range) const override;
  OsResult Register(PageRange run) override;
  OsResult Unregister(PageRange run) override;
  OsResult FindUnmapped(std::vector<PageRange>* unmapped) override;
  OsResult Unprotect(PageIndex page) override;
  OsResult Fill(PageIndex page, const std::byte* content) override;
  OsResult FillZero(PageRange run, uint64_t* filled_pages) override;
  OsResult WriteProtect(PageRange run) override;
  OsResult Wake(PageRange run) override;
  OsResult ZapPtes(PageRange run) override;
  OsResult ReadPtes(PageRange run, std::span<PteState> states) override;
  OsResult Read(PageIndex page, std::byte* content) override;
  OsResult Punch(PageRange run) override;
  PageRange NextPresent(PageRange range) override;
  uint64_t ResidentPages() override;
  // Faults before older removes, as the kernel does it.
  OsResult ReadMessages(std::span<GuestMessage> messages, size_t* count) override;
  int message_fd() const override;

  // ---- The guest ----

  // A guest thread touches a page; it may block, until somebody makes the page accessible.
  using ThreadId = size_t;
  ThreadId StartRead(PageIndex page);
  ThreadId StartWrite(PageIndex page, std::byte value);      // to the page's first byte
  ThreadId StartOverwrite(PageIndex page, std::byte value);  // of all its bytes
  // A device's request that will write to the page: it faults like a write until it holds the page,
  // and from then on sees no protection, no zap and no punch.
  ThreadId StartPin(PageIndex page);
  // A read that leaves no thread behind; false, and nothing has happened, where it would block.
  bool TryRead(PageIndex page);
  bool Blocked(ThreadId thread) const;
  PageContent ContentRead(ThreadId thread) const;  // by a StartRead that is done
  uint64_t FaultsOf(ThreadId thread) const;        // messages it has raised
  // A signal: a blocked thread faults anew, with a second message.
  void Interrupt(ThreadId thread);
  // Pages that blocked threads wait for although their message has been read: somebody owes them.
  std::vector<PageIndex> OwedPages() const;

  // The page as if the guest had written it long ago: mapped, not protected.
  void Populate(PageIndex page, const PageContent& content);
  // The balloon: QEMU punches the range and tells by a kRemove, which it waits for. Until that is
  // read every fill and protection answers kRetry.
  void Discard(PageRange range);
  // Its two halves: fallocate on the memfd, then madvise, which tells and waits.
  void PunchByGuest(PageRange range);
  void Advise(PageRange range);
  // The request of a StartPin that is not blocked any more writes all bytes of what it holds.
  void FinishPin(ThreadId pin, std::byte value);
  // Another process writes to the RAM memfd.
  void WriteBehindTheBack(PageIndex page, const PageContent& content);

  // ---- What a test sees ----

  struct View {
    bool hole = true;
    bool mapped = false;
    bool write_protected = false;
    bool registered = false;
    size_t waiters = 0;
  };
  View Look(PageIndex page) const;
  PageContent Content(PageIndex page) const;  // zeros for a hole

  struct Call {
    GuestOp op;
    PageRange range;
    OsResult result;
    bool operator==(const Call&) const = default;
  };
  std::vector<Call> Calls(GuestOp op) const;
  void ForgetCalls();

  // From now on checks that pages are made accessible only by an owner of Fixing or SwappingIn and
  // punched only in Dropping. What was wrong is in Violations().
  void WatchWords(const PageWords* words);
  std::vector<std::string> Violations() const;

  // ---- What a test makes happen ----

  // The next `times` calls of `op` answer `result` and do nothing.
  void FailNext(GuestOp op, OsResult result, uint64_t times = 1);
  // Everything that decides what happens next, as a number. Equal worlds have equal ones.
  uint64_t Fingerprint() const;

  // Runs `action` once, right before or after the next call of `op`; later ones queue up behind it.
  void BeforeNext(GuestOp op, std::function<void()> action);
  void AfterNext(GuestOp op, std::function<void()> action);
  // PTEs of the page are not zapped, as those of a page in another CPU's LRU batch.
  void KeepMapped(PageIndex page);
  // QEMU has unmapped this mapping, and something else lies there.
  void Unplug(PageRange mapping);
  // QEMU has exited.
  void SetGone();

  void SetAutoRun(bool auto_run);
  std::vector<ThreadId> Runnable() const;  // woken, not yet run
  bool IsRunnable(ThreadId thread) const;
  bool HasMessages() const;
  bool HasUnreadRemoves() const;
  // It is blocked, and its message has been read.
  bool IsOwed(ThreadId thread) const;
  // A kRemove is unread, or was read and QEMU has not gone on: fills and protections answer kRetry.
  bool MapChanges() const;
  void Run(ThreadId thread);
  // QEMU goes on after its kRemove was read; without auto-run.
  void FinishRemoves();

 private:
  struct Page {
    std::shared_ptr<PageContent> content;  // null: a hole
    bool mapped = false;
    bool write_protected = false;
    bool registered = false;
    bool keep_mapped = false;
  };
  struct Thread {
    enum class State { kDone, kBlocked, kRunnable };
    PageIndex page;
    enum class Access { kRead, kWriteByte, kOverwrite, kPin };
    Access access = Access::kRead;
    std::byte value{};
    std::shared_ptr<PageContent> pinned;
    State state = State::kRunnable;
    FaultMessage::Kind waits_for = FaultMessage::Kind::kUnknown;
    bool message_read = false;
    uint64_t faults = 0;
    PageContent content_read{};
  };
  using Actions = std::map<GuestOp, std::deque<std::function<void()>>>;

  // One call: hooks, injected failure, the operation itself, the log.
  template <typename Body>
  OsResult Do(GuestOp op, PageRange range, Body body);
  void RunAction(Actions* actions, GuestOp op);
  OsResult CheckRange(GuestOp op, PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckOwner(GuestOp op, PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Page& At(PageIndex page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const Page& At(PageIndex page) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ThreadId Start(PageIndex page, Thread::Access access, std::byte value);
  void Touch(ThreadId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Block(ThreadId id, FaultMessage::Kind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakePages(PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PunchPages(PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishReadRemoves() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateMessageFd() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<uint64_t> mappings_;
  const uint64_t page_count_;

  mutable Mutex mutex_;
  // Made when somebody asks for it.
  mutable std::optional<WakeEvent> message_event_ ABSL_GUARDED_BY(mutex_);
  std::vector<Page> pages_ ABSL_GUARDED_BY(mutex_);
  std::vector<Thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::deque<ThreadId> unread_faults_ ABSL_GUARDED_BY(mutex_);
  std::deque<PageRange> unread_removes_ ABSL_GUARDED_BY(mutex_);
  std::deque<PageRange> read_removes_ ABSL_GUARDED_BY(mutex_);  // QEMU has not gone on yet
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<GuestOp, std::deque<OsResult>> failures_ ABSL_GUARDED_BY(mutex_);
  Actions before_ ABSL_GUARDED_BY(mutex_);
  Actions after_ ABSL_GUARDED_BY(mutex_);
  const PageWords* words_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<std::string> violations_ ABSL_GUARDED_BY(mutex_);
  std::vector<PageRange> unplugged_ ABSL_GUARDED_BY(mutex_);
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool auto_run_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace ebb
