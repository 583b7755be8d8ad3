// SPDX-License-Identifier: MIT
#include "hostd/vm/tier_watch.h"

#include "absl/strings/str_format.h"
#include "hostd/base/log.h"

namespace ebb {

void TierWatch::Look(int64_t now_ns) {
  if (registry_->tiers().disk == nullptr) return;
  for (const TierStatus& tier : registry_->Tiers()) {
    if (tier.tier == "disk") Note(tier, now_ns);
  }
}

void TierWatch::Note(const TierStatus& disk, int64_t now_ns) {
  if (disk.state != "ok") {
    trouble_ns_ = now_ns;
    if (disk.state == said_) return;
    said_ = disk.state;
    LogWarning("%s", disk.message);
    registry_->events().Add(EventKind::kTierTrouble, "", disk.message);
  } else if (said_ != "ok" && now_ns - trouble_ns_ >= kWellAfterNs) {
    const std::string message =
        absl::StrFormat("the disk %s is well again: it was %s, and has not been for %d s",
                        disk.path, said_, kWellAfterNs / kNsPerS);
    said_ = "ok";
    LogInfo("%s", message);
    registry_->events().Add(EventKind::kTierRecovered, "", message);
  }
}

}  // namespace ebb
