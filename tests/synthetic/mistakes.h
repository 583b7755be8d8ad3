// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace ebb::synthetic {

// What went wrong, counted and written to stderr; after some lines only counted. Thread-safe.
class Mistakes {
 public:
  // A slice of guest memory with wrong bytes.
  void NoteWrong(const std::string& what);
  // A system call that failed on guest memory.
  void NoteFailed(const std::string& what);

  uint64_t wrong() const { return wrong_; }
  uint64_t failed() const { return failed_; }

 private:
  std::atomic<uint64_t> wrong_{0};
  std::atomic<uint64_t> failed_{0};
};

}  // namespace ebb::synthetic
