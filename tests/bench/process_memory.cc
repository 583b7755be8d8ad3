// SPDX-License-Identifier: MIT
#include "tests/bench/process_memory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "hostd/base/check.h"
#include "hostd/os/process.h"

namespace ebb::bench {
namespace {

uint64_t OwnStatusBytes(const char* field) {
  const absl::StatusOr<uint64_t> bytes = StatusBytes(getpid(), field);
  EBB_CHECK(bytes.ok(), "/proc/self/status has not the field");
  return *bytes;
}

}  // namespace

uint64_t AnonymousBytes() { return OwnStatusBytes("RssAnon"); }

uint64_t PageTableBytes() { return OwnStatusBytes("VmPTE"); }

uint64_t MemfdBytes(const std::string& name) {
  constexpr uint64_t kBlockBytes = 512;  // unit of st_blocks, stat(2)
  const std::string link = absl::StrCat("/memfd:", name, " (deleted)");
  uint64_t bytes = 0;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own descriptor
    if (std::filesystem::read_symlink(fd.path(), gone) != link) continue;
    struct stat info;
    if (stat(fd.path().c_str(), &info) == 0) {
      bytes += static_cast<uint64_t>(info.st_blocks) * kBlockBytes;
    }
  }
  return bytes;
}

}  // namespace ebb::bench
