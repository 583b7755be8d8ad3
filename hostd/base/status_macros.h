// SPDX-License-Identifier: MIT
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define EBB_RETURN_IF_ERROR(expression)                                              \
  do {                                                                               \
    if (absl::Status ebb_status = (expression); !ebb_status.ok()) return ebb_status; \
  } while (0)

#define EBB_CONCAT_INNER(a, b) a##b
#define EBB_CONCAT(a, b) EBB_CONCAT_INNER(a, b)

// EBB_ASSIGN_OR_RETURN(auto value, Function()): declares `value` or returns the error.
#define EBB_ASSIGN_OR_RETURN(declaration, expression) \
  EBB_ASSIGN_OR_RETURN_INNER(EBB_CONCAT(ebb_status_or_, __LINE__), declaration, expression)
#define EBB_ASSIGN_OR_RETURN_INNER(holder, declaration, expression) \
  auto holder = (expression);                                       \
  if (!holder.ok()) return holder.status();                         \
  declaration = *std::move(holder)
