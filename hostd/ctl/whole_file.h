// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ebb {

// Makes `content` that of the file at `path`, for everybody to read. Whoever reads it finds the old
// or the new content, never a part: it is written beside, and renamed. When it fails the file is as
// it was, and the error names it. A name of its own (`path` and a suffix) keeps the part from
// readers that go by the ending of names.
absl::Status WriteWholeFile(const std::string& path, const std::string& content);

}  // namespace ebb
