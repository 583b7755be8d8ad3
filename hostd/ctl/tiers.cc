// SPDX-License-Identifier: MIT
#include "hostd/ctl/tiers.h"

#include "absl/strings/str_cat.h"
#include "hostd/base/size.h"
#include "hostd/base/units.h"
#include "hostd/ctl/session.h"
#include "hostd/ctl/table.h"

namespace ebb {
namespace {

constexpr const char* kNoDisk =
    "There is no disk: what the pool has no room for stays resident. To have one, stop ebbd and\n"
    "start it with --disk PATH:SIZE.\n";

void AddTier(const Json& tier, Table* table) {
  const bool is_disk = TextField(tier, "tier") == "disk";
  const auto size = [&tier](const char* field) { return HumanSize(NumberField(tier, field)); };
  const auto count = [&](const char* field) {
    return is_disk ? HumanCount(NumberField(tier, field)) : std::string("-");
  };
  table->AddRow({TextField(tier, "tier"), TextField(tier, "state"),
                 NumberField(tier, "max_bytes") == 0 ? "none" : size("max_bytes"),
                 size("taken_bytes"), size("used_bytes"), size("original_bytes"),
                 HumanCount(BytesToPages(NumberField(tier, "original_bytes"))), count("reads"),
                 count("failed_reads"), count("written_blocks"), count("failed_writes")});
}

}  // namespace

const Json& TiersOf(const Json& tiers) {
  static const Json kNone = Json::array();
  const auto found = tiers.find("tiers");
  return found != tiers.end() && found->is_array() ? *found : kNone;
}

std::string TierView(const Json& tiers) {
  constexpr Align kLeft = Align::kLeft;
  constexpr Align kRight = Align::kRight;
  Table table(
      {kLeft, kLeft, kRight, kRight, kRight, kRight, kRight, kRight, kRight, kRight, kRight});
  table.AddRow({"TIER", "STATE", "MAXIMUM", "TAKEN", "USED", "HOLDS", "PAGES", "READS", "FAILED",
                "WRITES", "FAILED"});
  std::string notes;
  bool has_disk = false;
  for (const Json& tier : TiersOf(tiers)) {
    AddTier(tier, &table);
    const std::string name = TextField(tier, "tier");
    has_disk |= name == "disk";
    if (const std::string path = TextField(tier, "path"); !path.empty()) {
      absl::StrAppend(&notes, name, ": ", path, "\n");
    }
    if (const std::string message = TextField(tier, "message"); !message.empty()) {
      absl::StrAppend(&notes, TextField(tier, "state"), ": ", message, "\n");
    }
  }
  return absl::StrCat(table.ToString(), "\n", notes, has_disk ? "" : kNoDisk);
}

int RunTier(const Invocation& invocation) {
  Session session(invocation);
  const auto tiers = session.Call("GET", "/v1/tiers");
  if (!tiers) return session.Fail();
  if (invocation.json) {
    PrintJson(*tiers);
  } else {
    Print(TierView(*tiers));
  }
  return kExitDone;
}

}  // namespace ebb
