// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ebb {

// Who is reading what a record names, so that the one thread that moves it knows when nobody reads
// it any more where it was. Readers never wait, and write nothing that they share.
//
// A reader says that it reads before it looks where the content lies. The mover says where it lies
// now, and then looks who reads: who was seen not to read, or to have ended since, cannot know the
// old place. All four are sequentially consistent.
class RecordReaders {
 public:
  // A VM's threads that swap in, and those of a test.
  static constexpr size_t kMaxReaders = 16;

  class Reading;

  // One for each thread that reads. Not thread-safe itself.
  class Reader {
   public:
    explicit Reader(RecordReaders* readers);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

   private:
    friend class Reading;
    std::atomic<uint64_t>* turns_;
    std::atomic<bool>* taken_;
  };

  // While it lives, what is found in a record stays where it was found.
  class Reading {
   public:
    explicit Reading(Reader* reader) : turns_(reader->turns_) {
      turns_->fetch_add(1, std::memory_order_seq_cst);
    }
    ~Reading() { turns_->fetch_add(1, std::memory_order_release); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    std::atomic<uint64_t>* turns_;
  };

  // For the mover: who reads now.
  using Sight = std::array<uint64_t, kMaxReaders>;
  Sight Look() const;
  // Whether all who read then have ended.
  bool HaveEnded(const Sight& seen) const;

 private:
  struct alignas(64) Place {
    std::atomic<uint64_t> turns{0};  // odd while its reader reads
    std::atomic<bool> taken{false};
  };
  std::array<Place, kMaxReaders> places_;
};

}  // namespace ebb
