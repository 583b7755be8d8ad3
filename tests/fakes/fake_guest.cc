// SPDX-License-Identifier: MIT
// The guest's side of FakeGuestMemory: threads, devices, the balloon, and what a test sees of them.
#include <xxhash.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "hostd/base/check.h"
#include "tests/fakes/fake_guest_memory.h"

namespace ebb {

FakeGuestMemory::ThreadId FakeGuestMemory::Start(PageIndex page, Thread::Access access,
                                                 std::byte value) {
  MutexLock lock(mutex_);
  Thread& thread = threads_.emplace_back();
  thread.page = page;
  thread.access = access;
  thread.value = value;
  Touch(threads_.size() - 1);
  return threads_.size() - 1;
}

FakeGuestMemory::ThreadId FakeGuestMemory::StartRead(PageIndex page) {
  return Start(page, Thread::Access::kRead, {});
}

FakeGuestMemory::ThreadId FakeGuestMemory::StartWrite(PageIndex page, std::byte value) {
  return Start(page, Thread::Access::kWriteByte, value);
}

FakeGuestMemory::ThreadId FakeGuestMemory::StartOverwrite(PageIndex page, std::byte value) {
  return Start(page, Thread::Access::kOverwrite, value);
}

FakeGuestMemory::ThreadId FakeGuestMemory::StartPin(PageIndex page) {
  return Start(page, Thread::Access::kPin, {});
}

bool FakeGuestMemory::TryRead(PageIndex page) {
  MutexLock lock(mutex_);
  if (At(page).content == nullptr) return false;
  At(page).mapped = true;
  return true;
}

// One access, or one fault.
void FakeGuestMemory::Touch(ThreadId id) {
  Thread& thread = threads_[id];
  Page& page = At(thread.page);
  if (page.content == nullptr) {
    if (page.registered) return Block(id, FaultMessage::Kind::kMissing);
    page.content = std::make_shared<PageContent>();
  }
  page.mapped = true;
  if (thread.access != Thread::Access::kRead && page.write_protected) {
    return Block(id, FaultMessage::Kind::kWriteProtect);
  }
  switch (thread.access) {
    case Thread::Access::kRead:
      thread.content_read = *page.content;
      break;
    case Thread::Access::kWriteByte:
      page.content->front() = thread.value;
      break;
    case Thread::Access::kOverwrite:
      page.content->fill(thread.value);
      break;
    case Thread::Access::kPin:
      thread.pinned = page.content;
      break;
  }
  thread.state = Thread::State::kDone;
}

void FakeGuestMemory::Block(ThreadId id, FaultMessage::Kind kind) {
  Thread& thread = threads_[id];
  thread.state = Thread::State::kBlocked;
  thread.waits_for = kind;
  thread.message_read = false;
  ++thread.faults;
  unread_faults_.push_back(id);
  UpdateMessageFd();
}

void FakeGuestMemory::WakePages(PageRange range) {
  for (ThreadId id = 0; id < threads_.size(); ++id) {
    Thread& thread = threads_[id];
    if (thread.state != Thread::State::kBlocked || !range.Contains(thread.page)) continue;
    thread.state = Thread::State::kRunnable;
    // A message that nobody has read goes with its thread.
    std::erase(unread_faults_, id);
  }
  UpdateMessageFd();
  if (!auto_run_) return;
  for (ThreadId id = 0; id < threads_.size(); ++id) {
    if (threads_[id].state == Thread::State::kRunnable) Touch(id);
  }
}

bool FakeGuestMemory::Blocked(ThreadId thread) const {
  MutexLock lock(mutex_);
  return threads_[thread].state != Thread::State::kDone;
}

PageContent FakeGuestMemory::ContentRead(ThreadId thread) const {
  MutexLock lock(mutex_);
  EBB_CHECK(threads_[thread].state == Thread::State::kDone, "the thread is blocked");
  return threads_[thread].content_read;
}

uint64_t FakeGuestMemory::FaultsOf(ThreadId thread) const {
  MutexLock lock(mutex_);
  return threads_[thread].faults;
}

void FakeGuestMemory::Interrupt(ThreadId thread) {
  MutexLock lock(mutex_);
  if (threads_[thread].state != Thread::State::kBlocked) return;
  std::erase(unread_faults_, thread);
  Touch(thread);
}

std::vector<PageIndex> FakeGuestMemory::OwedPages() const {
  MutexLock lock(mutex_);
  std::vector<PageIndex> owed;
  for (const Thread& thread : threads_) {
    if (thread.state == Thread::State::kBlocked && thread.message_read) {
      owed.push_back(thread.page);
    }
  }
  return owed;
}

std::vector<FakeGuestMemory::ThreadId> FakeGuestMemory::Runnable() const {
  MutexLock lock(mutex_);
  std::vector<ThreadId> runnable;
  for (ThreadId id = 0; id < threads_.size(); ++id) {
    if (threads_[id].state == Thread::State::kRunnable) runnable.push_back(id);
  }
  return runnable;
}

bool FakeGuestMemory::IsRunnable(ThreadId thread) const {
  MutexLock lock(mutex_);
  return threads_[thread].state == Thread::State::kRunnable;
}

bool FakeGuestMemory::HasMessages() const {
  MutexLock lock(mutex_);
  return !unread_faults_.empty() || !unread_removes_.empty();
}

bool FakeGuestMemory::HasUnreadRemoves() const {
  MutexLock lock(mutex_);
  return !unread_removes_.empty();
}

bool FakeGuestMemory::IsOwed(ThreadId thread) const {
  MutexLock lock(mutex_);
  return threads_[thread].state == Thread::State::kBlocked && threads_[thread].message_read;
}

bool FakeGuestMemory::MapChanges() const {
  MutexLock lock(mutex_);
  return !unread_removes_.empty() || !read_removes_.empty();
}

void FakeGuestMemory::Run(ThreadId thread) {
  MutexLock lock(mutex_);
  if (threads_[thread].state == Thread::State::kRunnable) Touch(thread);
}

// ---- The rest of the world ----------------------------------------------------------------------

void FakeGuestMemory::Populate(PageIndex page, const PageContent& content) {
  MutexLock lock(mutex_);
  At(page).content = std::make_shared<PageContent>(content);
  At(page).mapped = true;
}

void FakeGuestMemory::Discard(PageRange range) {
  PunchByGuest(range);
  Advise(range);
}

void FakeGuestMemory::PunchByGuest(PageRange range) {
  MutexLock lock(mutex_);
  PunchPages(range);
}

void FakeGuestMemory::Advise(PageRange range) {
  MutexLock lock(mutex_);
  for (PageIndex page = range.first; page < range.end(); page = page + 1) {
    if (!At(page).registered) return;  // no message from there
  }
  unread_removes_.push_back(range);
  UpdateMessageFd();
}

// The madvise that sent the message zaps the PTEs once the message is read.
void FakeGuestMemory::FinishReadRemoves() {
  for (; !read_removes_.empty(); read_removes_.pop_front()) {
    const PageRange range = read_removes_.front();
    for (PageIndex page = range.first; page < range.end(); page = page + 1) {
      At(page).mapped = false;
    }
  }
}

void FakeGuestMemory::FinishRemoves() {
  MutexLock lock(mutex_);
  FinishReadRemoves();
}

void FakeGuestMemory::FinishPin(ThreadId pin, std::byte value) {
  MutexLock lock(mutex_);
  EBB_CHECK(threads_[pin].pinned != nullptr, "the request holds no page");
  threads_[pin].pinned->fill(value);
  threads_[pin].pinned.reset();
}

void FakeGuestMemory::WriteBehindTheBack(PageIndex page, const PageContent& content) {
  MutexLock lock(mutex_);
  if (At(page).content == nullptr) At(page).content = std::make_shared<PageContent>();
  *At(page).content = content;
}

FakeGuestMemory::View FakeGuestMemory::Look(PageIndex page) const {
  MutexLock lock(mutex_);
  const Page& looked_at = At(page);
  View view = {looked_at.content == nullptr, looked_at.mapped, looked_at.write_protected,
               looked_at.registered, 0};
  view.waiters = static_cast<size_t>(
      std::count_if(threads_.begin(), threads_.end(), [page](const Thread& thread) {
        return thread.state == Thread::State::kBlocked && thread.page == page;
      }));
  return view;
}

PageContent FakeGuestMemory::Content(PageIndex page) const {
  MutexLock lock(mutex_);
  return At(page).content != nullptr ? *At(page).content : PageContent{};
}

uint64_t FakeGuestMemory::Fingerprint() const {
  MutexLock lock(mutex_);
  const auto content_of = [](const std::shared_ptr<PageContent>& content) {
    return content == nullptr ? 0 : XXH3_64bits(content->data(), content->size());
  };
  std::vector<uint64_t> parts = {gone_};
  for (const Page& page : pages_) {
    parts.push_back(content_of(page.content));
    parts.push_back(uint64_t{page.mapped} | uint64_t{page.write_protected} << 1 |
                    uint64_t{page.registered} << 2);
  }
  for (const Thread& thread : threads_) {
    // A device that holds the page itself, or one that is there no more.
    const bool attached = thread.pinned != nullptr && thread.pinned == At(thread.page).content;
    parts.push_back(uint64_t{static_cast<uint8_t>(thread.state)} |
                    uint64_t{static_cast<uint8_t>(thread.waits_for)} << 8 |
                    uint64_t{thread.message_read} << 16 | uint64_t{attached} << 17 |
                    uint64_t{thread.pinned != nullptr} << 18);
  }
  for (const auto& [op, results] : failures_) {
    if (!results.empty()) parts.push_back(static_cast<uint64_t>(op) << 32 | results.size());
  }
  parts.push_back(UINT64_MAX);
  for (const ThreadId unread : unread_faults_) parts.push_back(unread);
  parts.push_back(UINT64_MAX);
  for (const auto* removes : {&unread_removes_, &read_removes_}) {
    for (const PageRange& range : *removes) parts.push_back(range.first.value << 32 | range.count);
    parts.push_back(UINT64_MAX);
  }
  return XXH3_64bits(parts.data(), parts.size() * sizeof parts[0]);
}

std::vector<FakeGuestMemory::Call> FakeGuestMemory::Calls(GuestOp op) const {
  MutexLock lock(mutex_);
  std::vector<Call> calls;
  std::copy_if(calls_.begin(), calls_.end(), std::back_inserter(calls),
               [op](const Call& call) { return call.op == op; });
  return calls;
}

void FakeGuestMemory::ForgetCalls() {
  MutexLock lock(mutex_);
  calls_.clear();
}

void FakeGuestMemory::WatchWords(const PageWords* words) {
  MutexLock lock(mutex_);
  words_ = words;
}

std::vector<std::string> FakeGuestMemory::Violations() const {
  MutexLock lock(mutex_);
  return violations_;
}

void FakeGuestMemory::FailNext(GuestOp op, OsResult result, uint64_t times) {
  MutexLock lock(mutex_);
  failures_[op].insert(failures_[op].end(), times, result);
}

void FakeGuestMemory::BeforeNext(GuestOp op, std::function<void()> action) {
  MutexLock lock(mutex_);
  before_[op].push_back(std::move(action));
}

void FakeGuestMemory::AfterNext(GuestOp op, std::function<void()> action) {
  MutexLock lock(mutex_);
  after_[op].push_back(std::move(action));
}

void FakeGuestMemory::KeepMapped(PageIndex page) {
  MutexLock lock(mutex_);
  At(page).keep_mapped = true;
}

void FakeGuestMemory::Unplug(PageRange mapping) {
  MutexLock lock(mutex_);
  unplugged_.push_back(mapping);
  for (PageIndex page = mapping.first; page < mapping.end(); page = page + 1) {
    At(page).registered = At(page).mapped = At(page).write_protected = false;
  }
}

void FakeGuestMemory::SetGone() {
  MutexLock lock(mutex_);
  gone_ = true;
}

void FakeGuestMemory::SetAutoRun(bool auto_run) {
  MutexLock lock(mutex_);
  auto_run_ = auto_run;
}

}  // namespace ebb
