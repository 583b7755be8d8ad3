// SPDX-License-Identifier: MIT
#include "hostd/os/os_result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace ebb {
namespace {

OsResult ResultOf(int error) {
  errno = error;
  return ResultFromErrno();
}

TEST(OsResult, EveryErrnoOfTheProtocolHasItsWord) {
  EXPECT_EQ(ResultOf(EAGAIN), OsResult::kRetry);
  EXPECT_EQ(ResultOf(EINTR), OsResult::kRetry);
  EXPECT_EQ(ResultOf(EEXIST), OsResult::kExists);
  EXPECT_EQ(ResultOf(ENOMEM), OsResult::kNoMemory);
  EXPECT_EQ(ResultOf(ENOSPC), OsResult::kNoMemory);
  EXPECT_EQ(ResultOf(ESRCH), OsResult::kGone);
  EXPECT_EQ(ResultOf(ENOENT), OsResult::kNotMapped);
  EXPECT_EQ(ResultOf(EFAULT), OsResult::kNotMapped);
  EXPECT_EQ(ResultOf(EINVAL), OsResult::kNotMapped);
}

TEST(OsResult, AnythingElseIsAFailure) {
  for (const int error : {EPERM, EIO, EBUSY, EBADF}) EXPECT_EQ(ResultOf(error), OsResult::kFailed);
}

TEST(OsResult, NamesDiffer) {
  std::set<std::string> names;
  for (int result = 0; result <= static_cast<int>(OsResult::kFailed); ++result) {
    names.insert(OsResultName(static_cast<OsResult>(result)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(OsResult::kFailed) + 1);
  EXPECT_EQ(names.count("?"), 0u);
}

TEST(OsResult, StatusSaysWhatFailedAndWhy) {
  errno = ENOENT;
  const absl::Status status = ErrnoStatus("opening /x");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("opening /x"), std::string::npos);
  EXPECT_NE(status.message().find("No such file"), std::string::npos);
}

TEST(OsResult, OnlyInterruptedAndWouldBlockAreTransient) {
  for (const int error : {EAGAIN, EWOULDBLOCK, EINTR}) {
    errno = error;
    EXPECT_TRUE(ErrnoIsTransient());
  }
  errno = EPIPE;
  EXPECT_FALSE(ErrnoIsTransient());
}

}  // namespace
}  // namespace ebb
