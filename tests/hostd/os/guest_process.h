// SPDX-License-Identifier: MIT
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"

namespace ebb {

// A child process that plays QEMU on the real kernel: it maps a memfd as RAM, makes a userfaultfd,
// and touches pages when told to, each time on a thread of its own. Killed and reaped at the end.
// As long as it lives it and the test share one CPU.
// Make it before the test starts threads: it forks.
class GuestProcess {
 public:
  // Every wait ends after this, and then fails.
  static constexpr int kDeadlineMs = 20000;

  // Several mappings lie in one memfd, one after the other, at unrelated addresses.
  explicit GuestProcess(const std::vector<uint64_t>& mapping_pages);
  ~GuestProcess();
  GuestProcess(const GuestProcess&) = delete;
  GuestProcess& operator=(const GuestProcess&) = delete;

  bool started() const { return userfaultfd_.valid(); }
  pid_t pid() const { return pid_; }
  Hva hva(size_t mapping) const { return {hvas_[mapping]}; }
  int memfd() const { return memfd_.get(); }
  UniqueFd TakeUserfaultfd() { return std::move(userfaultfd_); }

  // `page` counts the mappings laid end to end.
  size_t StartRead(uint64_t page) { return Send('r', page, 1, {}); }
  size_t StartWrite(uint64_t page, std::byte value) { return Send('w', page, 1, value); }
  size_t StartDiscard(uint64_t page, uint64_t count) { return Send('d', page, count, {}); }
  // Unmaps them, and maps other memory there.
  size_t StartUnplug(uint64_t page, uint64_t count) { return Send('u', page, count, {}); }
  // The thread is done; waits at most `timeout_ms`.
  bool Done(size_t thread, int timeout_ms = kDeadlineMs);
  std::byte ByteRead(size_t thread) { return answers_.at(thread); }

  // A SOCK_SEQPACKET connection to `path` that the child has made, so that it counts as the peer;
  // invalid where it could not.
  UniqueFd Connect(const std::string& path);

  // Ends the child at once, as a QEMU that crashes.
  void Kill();

 private:
  size_t Send(char what, uint64_t page, uint64_t count, std::byte value);

  pid_t pid_ = -1;
  UniqueFd memfd_;
  UniqueFd socket_;
  UniqueFd userfaultfd_;
  std::vector<uint64_t> hvas_;
  size_t next_thread_ = 0;
  cpu_set_t affinity_;  // of the test, before
  std::map<size_t, std::byte> answers_;
};

}  // namespace ebb
