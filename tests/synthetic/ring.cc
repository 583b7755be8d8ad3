// SPDX-License-Identifier: MIT
#include "tests/synthetic/ring.h"

#include <cerrno>
#include <numeric>

#include "tests/synthetic/die.h"

namespace ebb::synthetic {

Ring::Ring() {
  const int result = io_uring_queue_init(kMostRequests, &ring_, 0);
  if (result < 0) {
    errno = -result;
    Die("setting up an io_uring");
  }
}

Ring::~Ring() { io_uring_queue_exit(&ring_); }

bool Ring::Run(std::span<const Request> requests) {
  bool all_moved = true;
  std::vector<size_t> to_do(requests.size());
  std::iota(to_do.begin(), to_do.end(), size_t{0});
  while (!to_do.empty()) {
    Submit(requests, to_do);
    std::vector<size_t> again;
    for (size_t done = 0; done < to_do.size(); ++done) {
      const Completion completion = AwaitOne();
      if (completion.result == -ECANCELED) {
        // Not begun: Linux 6.1 starts no worker for a thread that has a signal to handle.
        again.push_back(completion.request);
      } else if (completion.result != static_cast<int>(requests[completion.request].bytes)) {
        errno = completion.result < 0 ? -completion.result : EIO;
        all_moved = false;
      }
    }
    to_do = again;
  }
  return all_moved;
}

void Ring::Submit(std::span<const Request> requests, const std::vector<size_t>& to_do) {
  for (const size_t i : to_do) {
    const Request& request = requests[i];
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    const auto bytes = static_cast<unsigned>(request.bytes);
    const auto offset = static_cast<uint64_t>(request.offset);
    if (request.writes) {
      io_uring_prep_write(sqe, request.fd, request.data, bytes, offset);
    } else {
      io_uring_prep_read(sqe, request.fd, request.data, bytes, offset);
    }
    if (request.on_worker) io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
    io_uring_sqe_set_data64(sqe, i);
  }
  for (size_t submitted = 0; submitted < to_do.size();) {
    const int result = io_uring_submit(&ring_);
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      errno = -result;
      Die("submitting to an io_uring");
    }
    if (result > 0) submitted += static_cast<size_t>(result);
  }
}

Ring::Completion Ring::AwaitOne() {
  io_uring_cqe* cqe = nullptr;
  int result;
  // A signal ends the wait, not the request.
  do {
    result = io_uring_wait_cqe(&ring_, &cqe);
  } while (result == -EINTR || result == -EAGAIN);
  if (result < 0) {
    errno = -result;
    Die("waiting for an io_uring");
  }
  const Completion completion = {static_cast<size_t>(cqe->user_data), cqe->res};
  io_uring_cqe_seen(&ring_, cqe);
  return completion;
}

}  // namespace ebb::synthetic
