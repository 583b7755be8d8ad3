// SPDX-License-Identifier: MIT
#include "hostd/ctl/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "hostd/base/unique_fd.h"

namespace ebb {
namespace {

constexpr mode_t kMode = 0644;

absl::Status SystemError(const std::string& path) {
  return absl::InternalError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
}

bool WriteAll(int fd, const std::string& content) {
  for (size_t written = 0; written < content.size();) {
    const ssize_t bytes = write(fd, content.data() + written, content.size() - written);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return false;
    written += static_cast<size_t>(bytes);
  }
  return true;
}

}  // namespace

absl::Status WriteWholeFile(const std::string& path, const std::string& content) {
  std::string partial = path + ".XXXXXX";
  UniqueFd fd(mkostemp(partial.data(), O_CLOEXEC));
  if (!fd.valid()) return SystemError(path);
  if (!WriteAll(fd.get(), content) || fchmod(fd.get(), kMode) != 0 ||
      rename(partial.c_str(), path.c_str()) != 0) {
    absl::Status status = SystemError(path);
    unlink(partial.c_str());
    return status;
  }
  return absl::OkStatus();
}

}  // namespace ebb
