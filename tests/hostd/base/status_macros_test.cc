// SPDX-License-Identifier: MIT
#include "hostd/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace ebb {
namespace {

absl::Status ReturnIfError(const absl::Status& status, bool& went_on) {
  EBB_RETURN_IF_ERROR(status);
  went_on = true;
  return absl::OkStatus();
}

TEST(ReturnIfError, OkGoesOn) {
  bool went_on = false;
  EXPECT_TRUE(ReturnIfError(absl::OkStatus(), went_on).ok());
  EXPECT_TRUE(went_on);
}

TEST(ReturnIfError, ErrorReturnsUnchanged) {
  bool went_on = false;
  const absl::Status error = absl::NotFoundError("no such VM");
  EXPECT_EQ(ReturnIfError(error, went_on), error);
  EXPECT_FALSE(went_on);
}

absl::StatusOr<int> Sum(absl::StatusOr<int> left, absl::StatusOr<int> right) {
  EBB_ASSIGN_OR_RETURN(int left_value, left);
  EBB_ASSIGN_OR_RETURN(const int right_value, right);
  left_value += right_value;
  return left_value;
}

TEST(AssignOrReturn, ValuesAreAssigned) { EXPECT_EQ(Sum(1, 2).value(), 3); }

TEST(AssignOrReturn, FirstErrorIsReturned) {
  const absl::Status first = absl::NotFoundError("first");
  const absl::Status second = absl::InternalError("second");
  EXPECT_EQ(Sum(first, 2).status(), first);
  EXPECT_EQ(Sum(1, second).status(), second);
  EXPECT_EQ(Sum(first, second).status(), first);
}

absl::StatusOr<std::unique_ptr<int>> PassOn(absl::StatusOr<std::unique_ptr<int>> from) {
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<int> value, std::move(from));
  return value;
}

TEST(AssignOrReturn, MovesWhatCannotBeCopied) {
  EXPECT_EQ(*PassOn(std::make_unique<int>(7)).value(), 7);
}

}  // namespace
}  // namespace ebb
