// SPDX-License-Identifier: MIT
#include "hostd/os/wake_event.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hostd/base/check.h"
#include "hostd/base/wait_checks.h"

namespace ebb {

WakeEvent::WakeEvent() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  EBB_CHECK(fd_.valid(), "eventfd failed: out of file descriptors?");
}

void WakeEvent::Set() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the reader is woken anyway.
  // style-ok(wait): does not block
  [[maybe_unused]] ssize_t written = write(fd_.get(), &one, sizeof one);
}

void WakeEvent::Clear() {
  uint64_t count;
  // style-ok(wait): does not block
  [[maybe_unused]] ssize_t bytes = read(fd_.get(), &count, sizeof count);
}

bool IsReadable(int fd) {
  pollfd wait = {fd, POLLIN, 0};
  // style-ok(wait): only looks
  return poll(&wait, 1, 0) == 1;
}

PollResult WaitReadable(int fd, const WakeEvent& event, int64_t timeout_ns, int other_fd) {
  // poll passes over descriptors below 0.
  pollfd fds[3] = {{fd, POLLIN, 0}, {event.fd(), POLLIN, 0}, {other_fd, POLLIN, 0}};
  timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  MayWait("for a descriptor");
  ppoll(fds, 3, timeout_ns < 0 ? nullptr : &timeout, nullptr);
  return {(fds[0].revents & (POLLIN | POLLERR | POLLHUP)) != 0, (fds[1].revents & POLLIN) != 0};
}

}  // namespace ebb
