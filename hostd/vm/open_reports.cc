// SPDX-License-Identifier: MIT
#include "hostd/vm/open_reports.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "hostd/base/log.h"
#include "hostd/base/units.h"

namespace ebb {
namespace {

constexpr int64_t kLinesPeriodNs = 60 * kNsPerS;

std::string ProcessText(const OpenGuard::Refusal& refusal) {
  if (refusal.program.empty()) return absl::StrFormat("process %d", refusal.pid);
  return absl::StrFormat("process %d (%s)", refusal.pid, refusal.program);
}

// A VM without a name was being looked at, and is not attached.
std::string RefusalText(const std::string& vm, const OpenGuard::Refusal& refusal) {
  const std::string process = ProcessText(refusal);
  if (vm.empty()) {
    return process + " may not open a VM's memory while that is being attached; try again";
  }
  return absl::StrFormat(
      "%s may not open the memory of %s, which is attached: it would see zeros in place of swapped "
      "pages. To move %s by x-ignore-shared: ebbctl detach %s, then start the other QEMU",
      process, vm, vm, vm);
}

}  // namespace

bool OpenReports::MaySay(int64_t now_ns) {
  if (lines_ == 0 || now_ns - minute_began_ns_ >= kLinesPeriodNs) {
    minute_began_ns_ = now_ns;
    lines_ = 0;
  }
  return ++lines_ <= kLinesPerMinute;
}

std::string OpenReports::VmOf(const FileId& file) const {
  for (const auto& vm : registry_->All()) {
    const std::vector<FileId>& files = vm->ram().files;
    if (std::find(files.begin(), files.end(), file) != files.end()) return vm->name();
  }
  return "";
}

void OpenReports::Say(const OpenGuard::Refusals& refusals, int64_t now_ns) {
  unsaid_ += refusals.others;
  for (const OpenGuard::Refusal& refusal : refusals.some) {
    if (!MaySay(now_ns)) {
      ++unsaid_;
      continue;
    }
    const std::string vm = VmOf(refusal.file);
    std::string text = RefusalText(vm, refusal);
    if (const uint64_t unsaid = std::exchange(unsaid_, 0); unsaid > 0) {
      text += absl::StrFormat(" (and %d more refusals that were not said)", unsaid);
    }
    LogWarning("vm %s: %s", vm.empty() ? "?" : vm, text);
    registry_->events().Add(EventKind::kOpenRefused, vm, text);
  }
}

}  // namespace ebb
