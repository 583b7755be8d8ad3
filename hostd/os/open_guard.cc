// SPDX-License-Identifier: MIT
#include "hostd/os/open_guard.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"
#include "hostd/os/thread.h"

namespace ebb {
namespace {

FileId OpenedFile(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? FileId{info.st_dev, info.st_ino} : FileId{};
}

bool CanBeOpened(const UniqueFd& file) {
  const std::string path = absl::StrFormat("/proc/self/fd/%d", file.get());
  MayWait("for the thread that answers opens");
  return UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC)).valid();
}

}  // namespace

absl::StatusOr<std::unique_ptr<OpenGuard>> OpenGuard::Start() {
  // Without bounds: an event that found no room in the queue would be answered by the kernel, and
  // allowed.
  const unsigned flags =
      FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
  UniqueFd group(fanotify_init(flags, O_RDONLY | O_CLOEXEC | O_LARGEFILE));
  if (!group.valid()) return ErrnoStatus("fanotify_init, for which it takes CAP_SYS_ADMIN");
  std::unique_ptr<OpenGuard> guard(new OpenGuard(std::move(group)));
  EBB_RETURN_IF_ERROR(guard->Try());
  return guard;
}

OpenGuard::OpenGuard(UniqueFd group) : group_(std::move(group)) {
  thread_ = std::thread([this] { Run(); });
}

OpenGuard::~OpenGuard() {
  stopping_.store(true);
  stop_event_.Set();
  MayWait("for the thread that answers opens");
  thread_.join();
}

// A kernel may take the mark and not ask.
absl::Status OpenGuard::Try() {
  std::vector<UniqueFd> files;
  files.emplace_back(memfd_create("ebb-open-guard", MFD_CLOEXEC));
  if (!files.front().valid()) return ErrnoStatus("memfd_create");
  EBB_ASSIGN_OR_RETURN(Ban ban, Forbid(files));
  const bool forbidden = !CanBeOpened(files.front());
  ban.Lift();
  TakeRefusals();
  if (forbidden && CanBeOpened(files.front())) return absl::OkStatus();
  return absl::UnavailableError("fanotify does not keep a memfd from being opened");
}

absl::StatusOr<OpenGuard::Ban> OpenGuard::Forbid(const std::vector<UniqueFd>& memfds) {
  Ban ban;
  ban.guard_ = this;
  for (const UniqueFd& memfd : memfds) {
    UniqueFd file(fcntl(memfd.get(), F_DUPFD_CLOEXEC, 0));
    if (!file.valid()) return ErrnoStatus("duplicating a descriptor");
    EBB_RETURN_IF_ERROR(Mark(file));
    ban.files_.push_back(std::move(file));
  }
  return ban;
}

void OpenGuard::Ban::Lift() {
  for (const UniqueFd& file : files_) guard_->Unmark(file);
  files_.clear();
}

// Marks belong to the file, not to the descriptor.
absl::Status OpenGuard::Mark(const UniqueFd& file) {
  int& bans = bans_[OpenedFile(file.get())];
  if (bans == 0 &&
      fanotify_mark(group_.get(), FAN_MARK_ADD, FAN_OPEN_PERM, file.get(), nullptr) != 0) {
    const absl::Status status = ErrnoStatus("fanotify_mark");
    bans_.erase(OpenedFile(file.get()));
    return status;
  }
  ++bans;
  return absl::OkStatus();
}

void OpenGuard::Unmark(const UniqueFd& file) {
  const auto bans = bans_.find(OpenedFile(file.get()));
  if (bans == bans_.end() || --bans->second > 0) return;
  bans_.erase(bans);
  fanotify_mark(group_.get(), FAN_MARK_REMOVE, FAN_OPEN_PERM, file.get(), nullptr);
}

OpenGuard::Refusals OpenGuard::TakeRefusals() {
  MutexLock lock(mutex_);
  return std::exchange(refusals_, {});
}

void OpenGuard::Run() {
  EnterThreadRole("opens", ThreadRole::kUrgentReclaim);
  while (!stopping_.load()) {
    AnswerPending();
    WaitReadable(group_.get(), stop_event_, -1);
  }
}

void OpenGuard::AnswerPending() {
  // Each event brings a descriptor: no more of them at a time than are answered at once.
  constexpr size_t kEvents = 16;
  alignas(fanotify_event_metadata) std::array<char, kEvents * FAN_EVENT_METADATA_LEN> buffer;
  // style-ok(wait): does not block
  ssize_t left = read(group_.get(), buffer.data(), buffer.size());
  const auto* event = reinterpret_cast<const fanotify_event_metadata*>(buffer.data());
  // Where the kernel cannot make a descriptor for us it refuses the open itself, and read fails.
  for (; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left)) {
    if ((event->mask & FAN_OPEN_PERM) != 0 && event->fd >= 0) Refuse(event->fd, event->pid);
  }
}

void OpenGuard::Refuse(int opened, int pid) {
  const UniqueFd file(opened);
  // As long as it waits for our answer it is there. For its name alone no lock of its is taken.
  const std::string program = ReadFile(absl::StrFormat("/proc/%d/comm", pid)).value_or("");
  Note({OpenedFile(opened), pid, std::string(absl::StripSuffix(program, "\n"))});
  const fanotify_response response = {opened, FAN_DENY};
  // Fails where the process was killed meanwhile.
  // style-ok(wait): does not block
  [[maybe_unused]] ssize_t written = write(group_.get(), &response, sizeof response);
}

void OpenGuard::Note(Refusal refusal) {
  MutexLock lock(mutex_);
  if (refusals_.some.size() < kMaxKept) {
    refusals_.some.push_back(std::move(refusal));
  } else {
    ++refusals_.others;
  }
}

}  // namespace ebb
