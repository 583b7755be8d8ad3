// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>

#include "hostd/base/unique_fd.h"
#include "hostd/base/units.h"
#include "hostd/os/process.h"

namespace ebb {

// A new memfd. `flags`: of memfd_create(2).
inline UniqueFd MakeMemfd(uint64_t pages, unsigned flags = MFD_CLOEXEC) {
  UniqueFd fd(memfd_create("ebb-test", flags));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(PagesToBytes(pages))), 0);
  return fd;
}

inline FileId FileOf(int fd) {
  struct stat info;
  EXPECT_EQ(fstat(fd, &info), 0);
  return {info.st_dev, info.st_ino};
}

}  // namespace ebb
