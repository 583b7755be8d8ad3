// SPDX-License-Identifier: MIT
#include "tests/fakes/fake_guest_memory.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/check.h"
#include "hostd/base/wait_checks.h"

namespace ebb {

const char* GuestOpName(GuestOp op) {
  constexpr const char* kNames[] = {"Register", "Unregister",   "Unprotect", "Fill",
                                    "FillZero", "WriteProtect", "Wake",      "ZapPtes",
                                    "ReadPtes", "Read",         "Punch",     "FindUnmapped"};
  return kNames[static_cast<size_t>(op)];
}

FakeGuestMemory::FakeGuestMemory(std::vector<uint64_t> mappings)
    : mappings_(std::move(mappings)),
      page_count_(std::accumulate(mappings_.begin(), mappings_.end(), uint64_t{0})),
      pages_(page_count_) {}

uint64_t FakeGuestMemory::pages() const { return page_count_; }

PageRange FakeGuestMemory::FirstRun(PageRange range) const {
  EBB_CHECK(range.first.value < page_count_, "range outside guest RAM");
  uint64_t end = 0;
  for (const uint64_t pages : mappings_) {
    end += pages;
    if (range.first.value < end) break;
  }
  return {range.first, std::min(range.count, end - range.first.value)};
}

FakeGuestMemory::Page& FakeGuestMemory::At(PageIndex page) {
  EBB_CHECK(page.value < page_count_, "page outside guest RAM");
  return pages_[page.value];
}
const FakeGuestMemory::Page& FakeGuestMemory::At(PageIndex page) const {
  EBB_CHECK(page.value < page_count_, "page outside guest RAM");
  return pages_[page.value];
}

void FakeGuestMemory::RunAction(Actions* actions, GuestOp op) {
  std::function<void()> action;
  {
    MutexLock lock(mutex_);
    std::deque<std::function<void()>>& queue = (*actions)[op];
    if (queue.empty()) return;
    action = std::move(queue.front());
    queue.pop_front();
  }
  action();
}

// What the kernel says before it looks at pages.
OsResult FakeGuestMemory::CheckRange(GuestOp op, PageRange range) {
  EBB_CHECK(range.count > 0 && range.end().value <= page_count_ && FirstRun(range) == range,
            "an operation must lie in one RAM mapping");
  const bool on_memfd = op == GuestOp::kRead || op == GuestOp::kPunch;
  if (gone_ && !on_memfd && op != GuestOp::kWake) return OsResult::kGone;
  const bool fills_or_protects = op == GuestOp::kUnprotect || op == GuestOp::kFill ||
                                 op == GuestOp::kFillZero || op == GuestOp::kWriteProtect;
  if (!fills_or_protects) return OsResult::kDone;
  if (!unread_removes_.empty() || !read_removes_.empty()) return OsResult::kRetry;
  for (PageIndex page = range.first; page < range.end(); page = page + 1) {
    if (!At(page).registered) return OsResult::kNotMapped;
  }
  return OsResult::kDone;
}

void FakeGuestMemory::CheckOwner(GuestOp op, PageRange range) {
  if (words_ == nullptr) return;
  const bool opens = op == GuestOp::kUnprotect || op == GuestOp::kFill || op == GuestOp::kFillZero;
  if (!opens && op != GuestOp::kPunch) return;
  for (PageIndex page = range.first; page < range.end(); page = page + 1) {
    const PageState state = words_->Load(page).state();
    const bool right = opens ? state == PageState::kFixing || state == PageState::kSwappingIn
                             : state == PageState::kDropping;
    if (right) continue;
    violations_.push_back(
        absl::StrFormat("%s of page %d in %s", GuestOpName(op), page.value, PageStateName(state)));
  }
}

template <typename Body>
OsResult FakeGuestMemory::Do(GuestOp op, PageRange range, Body body) {
  const AnotherThreadsWork of_the_kernel_and_the_guest;
  RunAction(&before_, op);
  OsResult result;
  {
    MutexLock lock(mutex_);
    CheckOwner(op, range);
    std::deque<OsResult>& failures = failures_[op];
    if (!failures.empty()) {
      result = failures.front();
      failures.pop_front();
    } else {
      result = CheckRange(op, range);
      if (result == OsResult::kDone) result = body();
    }
    calls_.push_back({op, range, result});
  }
  RunAction(&after_, op);
  return result;
}

OsResult FakeGuestMemory::Register(PageRange run) {
  return Do(GuestOp::kRegister, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (uint64_t i = 0; i < run.count; ++i) At(run.first + i).registered = true;
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Unregister(PageRange run) {
  return Do(GuestOp::kUnregister, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (uint64_t i = 0; i < run.count; ++i) {
      At(run.first + i).registered = false;
      At(run.first + i).write_protected = false;
    }
    WakePages(run);
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::FindUnmapped(std::vector<PageRange>* unmapped) {
  const PageRange first = FirstRun({{0}, page_count_});
  return Do(GuestOp::kFindUnmapped, first, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    *unmapped = unplugged_;
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Unprotect(PageIndex page) {
  return Do(GuestOp::kUnprotect, {page, 1}, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    At(page).write_protected = false;
    WakePages({page, 1});
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Fill(PageIndex page, const std::byte* content) {
  return Do(GuestOp::kFill, {page, 1}, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Page& filled = At(page);
    if (filled.content != nullptr) return OsResult::kExists;  // wakes nobody
    filled.content = std::make_shared<PageContent>();
    std::memcpy(filled.content->data(), content, kPageBytes);
    filled.mapped = true;
    filled.write_protected = false;
    WakePages({page, 1});
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::FillZero(PageRange run, uint64_t* filled_pages) {
  *filled_pages = 0;
  return Do(GuestOp::kFillZero, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    OsResult result = OsResult::kDone;
    for (uint64_t i = 0; i < run.count; ++i) {
      Page& filled = At(run.first + i);
      if (filled.content != nullptr) {
        result = OsResult::kExists;
        break;
      }
      filled.content = std::make_shared<PageContent>();
      filled.mapped = true;
      filled.write_protected = false;
      ++*filled_pages;
    }
    if (*filled_pages > 0) WakePages({run.first, *filled_pages});
    return result;
  });
}

OsResult FakeGuestMemory::WriteProtect(PageRange run) {
  return Do(GuestOp::kWriteProtect, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // Where nothing is mapped, a marker.
    for (uint64_t i = 0; i < run.count; ++i) At(run.first + i).write_protected = true;
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Wake(PageRange run) {
  return Do(GuestOp::kWake, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    WakePages(run);
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::ZapPtes(PageRange run) {
  return Do(GuestOp::kZapPtes, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (uint64_t i = 0; i < run.count; ++i) {
      if (!At(run.first + i).keep_mapped) At(run.first + i).mapped = false;
    }
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::ReadPtes(PageRange run, std::span<PteState> states) {
  return Do(GuestOp::kReadPtes, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (uint64_t i = 0; i < run.count; ++i) {
      const Page& page = At(run.first + i);
      states[i] = {page.mapped, page.write_protected};
    }
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Read(PageIndex page, std::byte* content) {
  return Do(GuestOp::kRead, {page, 1}, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const PageContent zeros = {};
    const PageContent* from = At(page).content != nullptr ? At(page).content.get() : &zeros;
    std::memcpy(content, from->data(), kPageBytes);
    return OsResult::kDone;
  });
}

OsResult FakeGuestMemory::Punch(PageRange run) {
  return Do(GuestOp::kPunch, run, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    PunchPages(run);
    return OsResult::kDone;
  });
}

// Keeps the write-protect marker and wakes nobody.
void FakeGuestMemory::PunchPages(PageRange range) {
  for (PageIndex page = range.first; page < range.end(); page = page + 1) {
    At(page).content.reset();
    At(page).mapped = false;
  }
}

PageRange FakeGuestMemory::NextPresent(PageRange range) {
  const AnotherThreadsWork of_the_kernel_and_the_guest;
  MutexLock lock(mutex_);
  PageIndex first = range.first;
  while (first < range.end() && At(first).content == nullptr) first = first + 1;
  if (first == range.end()) return {range.first, 0};
  const PageRange run = FirstRun({first, range.end().value - first.value});
  uint64_t count = 1;
  while (count < run.count && At(first + count).content != nullptr) ++count;
  return {first, count};
}

uint64_t FakeGuestMemory::ResidentPages() {
  const AnotherThreadsWork of_the_kernel_and_the_guest;
  MutexLock lock(mutex_);
  return static_cast<uint64_t>(std::count_if(
      pages_.begin(), pages_.end(), [](const Page& page) { return page.content != nullptr; }));
}

OsResult FakeGuestMemory::ReadMessages(std::span<GuestMessage> messages, size_t* count) {
  const AnotherThreadsWork of_the_kernel_and_the_guest;
  MutexLock lock(mutex_);
  *count = 0;
  for (; *count < messages.size() && !unread_faults_.empty(); unread_faults_.pop_front()) {
    Thread& thread = threads_[unread_faults_.front()];
    thread.message_read = true;
    messages[(*count)++] = {thread.waits_for, {thread.page, 1}};
  }
  for (; *count < messages.size() && !unread_removes_.empty(); unread_removes_.pop_front()) {
    messages[(*count)++] = {FaultMessage::Kind::kRemove, unread_removes_.front()};
    read_removes_.push_back(unread_removes_.front());
  }
  if (auto_run_) FinishReadRemoves();
  UpdateMessageFd();
  return *count > 0 ? OsResult::kDone : OsResult::kRetry;
}

int FakeGuestMemory::message_fd() const {
  const AnotherThreadsWork of_the_kernel_and_the_guest;
  MutexLock lock(mutex_);
  if (!message_event_) message_event_.emplace();
  UpdateMessageFd();
  return message_event_->fd();
}

void FakeGuestMemory::UpdateMessageFd() const {
  if (!message_event_) return;
  if (unread_faults_.empty() && unread_removes_.empty()) {
    message_event_->Clear();
  } else {
    message_event_->Set();
  }
}

}  // namespace ebb
