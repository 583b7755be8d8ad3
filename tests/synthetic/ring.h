// SPDX-License-Identifier: MIT
#pragma once

#include <liburing.h>
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

namespace ebb::synthetic {

// An io_uring, as QEMU's aio=io_uring uses it: plain requests, no registered buffers (those pin
// guest memory for good, which Ebb refuses). Thread-bound.
class Ring {
 public:
  // What can be under way at once.
  static constexpr size_t kMostRequests = 16;

  struct Request {
    bool writes = false;  // from memory into the file
    int fd = -1;
    void* data = nullptr;
    size_t bytes = 0;
    off_t offset = 0;
    bool on_worker = false;  // a thread of the kernel does it, and meets the page faults
  };

  Ring();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Submits all at once and returns when all are complete. False if one did not move all of its
  // bytes; errno says why.
  bool Run(std::span<const Request> requests);

 private:
  struct Completion {
    size_t request;
    int result;
  };
  void Submit(std::span<const Request> requests, const std::vector<size_t>& to_do);
  Completion AwaitOne();

  io_uring ring_;
};

}  // namespace ebb::synthetic
