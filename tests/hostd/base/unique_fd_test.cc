// SPDX-License-Identifier: MIT
#include "hostd/base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <type_traits>
#include <utility>

namespace ebb {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);

int OpenNull() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, DefaultOwnsNothing) {
  UniqueFd fd;
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFd, DestructorCloses) {
  const int number = OpenNull();
  {
    UniqueFd fd(number);
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(fd.get(), number);
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFd, DescriptorZeroIsValid) {
  UniqueFd fd(0);
  EXPECT_TRUE(fd.valid());
  EXPECT_EQ(fd.Release(), 0);
}

TEST(UniqueFd, MoveConstructorTakesOver) {
  const int number = OpenNull();
  UniqueFd from(number);
  UniqueFd to(std::move(from));
  EXPECT_FALSE(from.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(to.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFd, MoveAssignmentClosesWhatItHad) {
  const int old_number = OpenNull();
  const int new_number = OpenNull();
  UniqueFd to(old_number);
  to = UniqueFd(new_number);
  EXPECT_FALSE(IsOpen(old_number));
  EXPECT_EQ(to.get(), new_number);
  EXPECT_TRUE(IsOpen(new_number));
}

TEST(UniqueFd, SelfMoveKeepsTheDescriptor) {
  const int number = OpenNull();
  UniqueFd fd(number);
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(UniqueFd, ReleaseHandsOverWithoutClosing) {
  const int number = OpenNull();
  UniqueFd fd(number);
  EXPECT_EQ(fd.Release(), number);
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(IsOpen(number));
  close(number);
}

TEST(UniqueFd, ResetClosesOnce) {
  const int number = OpenNull();
  UniqueFd fd(number);
  fd.Reset();
  EXPECT_FALSE(IsOpen(number));
  const int reused = OpenNull();  // the lowest free number: most likely the same
  fd.Reset();
  EXPECT_TRUE(IsOpen(reused));
  close(reused);
}

}  // namespace
}  // namespace ebb
