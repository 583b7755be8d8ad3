// SPDX-License-Identifier: MIT
#include "tests/guest/report.h"

#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace ebb::guest {
namespace {

constexpr uint64_t kWrongPagesReported = 20;

using Line = std::array<char, 512>;

// One write per line, so that lines of several threads do not mix.
void WriteLine(const Line& line, int length) {
  const auto bytes = static_cast<size_t>(std::clamp(length, 0, static_cast<int>(line.size()) - 1));
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, line.data(), bytes);
}

double SecondsSinceBoot() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// As /proc/meminfo: MemTotal - MemFree.
uint64_t UsedBytes() {
  struct sysinfo info {};
  sysinfo(&info);
  return (info.totalram - info.freeram) * info.mem_unit;
}

void ReportWrongPage(const PageId& id, const PageDifference& difference, const char* part) {
  Line line;
  WriteLine(line,
            std::snprintf(line.data(), line.size(),
                          "EBB-WRONG part=%s page=%" PRIu64 " version=%" PRIu32
                          " wrong_bytes=%" PRIu64 " offset=%zu expected=0x%02x got=0x%02x holds=%s"
                          " older_version=%" PRIu32 "\n",
                          part, BytesToPages(id.address), id.version, difference.wrong_bytes,
                          difference.first_offset, difference.expected, difference.got,
                          WrongContentName(difference.content), difference.older_version));
}

}  // namespace

void ReportProgress(const Progress& progress) {
  Line line;
  WriteLine(line,
            std::snprintf(line.data(), line.size(),
                          "EBB {\"seconds\": %.1f, \"phase\": \"%s\", \"used_bytes\": %" PRIu64
                          ", \"filled_bytes\": %" PRIu64 ", \"verified_bytes\": %" PRIu64
                          ", \"wrong_bytes\": %" PRIu64 ", \"sweeps\": %" PRIu64
                          ", \"disk_sweeps\": %" PRIu64 ", \"hot_rewrites\": %" PRIu64 "}\n",
                          SecondsSinceBoot(), progress.running ? "running" : "filling", UsedBytes(),
                          progress.filled_bytes.load(), progress.verified_bytes.load(),
                          progress.wrong_bytes.load(), progress.sweeps.load(),
                          progress.disk_sweeps.load(), progress.hot_rewrites.load()));
}

void CheckPage(const PageId& id, const void* page, const char* part, Progress& progress) {
  if (!PageMatches(id, page)) [[unlikely]] {
    static std::atomic<uint64_t> wrong_pages = 0;
    const PageDifference difference = ComparePage(id, page);
    progress.wrong_bytes += difference.wrong_bytes;
    if (wrong_pages++ < kWrongPagesReported) ReportWrongPage(id, difference, part);
  }
  progress.verified_bytes += kPageBytes;
}

void ReportProbe() {
  static constexpr std::string_view kLine = "EBB-PROBE\n";
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, kLine.data(), kLine.size());
}

void Fail(std::string_view reason) {
  Line line;
  WriteLine(line, std::snprintf(line.data(), line.size(), "EBB-FAIL %.*s\n",
                                static_cast<int>(reason.size()), reason.data()));
  _exit(EXIT_FAILURE);
}

void FailErrno(std::string_view reason) { Fail(std::string(reason) + ": " + std::strerror(errno)); }

}  // namespace ebb::guest
