// SPDX-License-Identifier: MIT
#include "tests/synthetic/guest_ram.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/synthetic/die.h"

namespace ebb::synthetic {

GuestRam::GuestRam(uint64_t bytes)
    : memfd_(memfd_create("memory-backend-memfd", MFD_CLOEXEC)), pages_(BytesToPages(bytes)) {
  if (!memfd_.valid() || ftruncate(memfd_.get(), static_cast<off_t>(bytes)) != 0) {
    Die("creating guest RAM");
  }
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd_.get(), 0);
  if (base == MAP_FAILED) Die("mapping guest RAM");
  base_ = static_cast<std::byte*>(base);
}

bool GuestRam::Discard(uint64_t page) {
  return fallocate(memfd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(PagesToBytes(page)), kPageBytes) == 0 &&
         madvise(at(page), kPageBytes, MADV_DONTNEED) == 0;
}

}  // namespace ebb::synthetic
