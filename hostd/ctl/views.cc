// SPDX-License-Identifier: MIT
#include "hostd/ctl/views.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/base/size.h"
#include "hostd/base/units.h"
#include "hostd/ctl/table.h"

namespace ebb {
namespace {

constexpr const char* kNoVms =
    "No VM is attached. A VM attaches when its QEMU starts with libebb-qemu.so loaded.\n";

// Of a list of VMs, if any of them has something there.
constexpr int kDiskColumn = 8;

uint64_t Less(uint64_t from, uint64_t what) { return from > what ? from - what : 0; }

uint64_t BookkeepingBytes(const Json& vm) {
  return NumberField(vm, "page_word_bytes") + NumberField(vm, "record_bytes");
}

// What the host has gained: what the swapped-out pages took, less what they take now.
uint64_t SavedBytes(const Json& vm) {
  return Less(NumberField(vm, "swapped_bytes"),
              NumberField(vm, "pool_used_bytes") + BookkeepingBytes(vm));
}

std::string RatioOf(const Json& vm) {
  const uint64_t compressed = NumberField(vm, "pool_compressed_bytes");
  if (compressed == 0) return "-";
  return absl::StrFormat("%.2f", static_cast<double>(NumberField(vm, "pool_original_bytes")) /
                                     static_cast<double>(compressed));
}

std::string PagesAndSize(uint64_t pages) {
  if (pages == 0) return "0 pages";
  return absl::StrCat(HumanCount(pages), pages == 1 ? " page, " : " pages, ",
                      HumanSize(PagesToBytes(pages)));
}

std::string Percent(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  return absl::StrFormat("%.0f %%", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

// The limit set by hand, or what the plan for the host's budget leaves the VM, if that is less.
uint64_t LimitInForce(const Json& vm) {
  const uint64_t target = NumberField(vm, "target_bytes");
  return target > 0 ? target : NumberField(vm, "limit_bytes");
}

// In a list: the state, or what is being done to a running VM.
std::string ActivityOf(const Json& vm) {
  std::string state = TextField(vm, "state");
  if (state != "running") return state;
  if (NumberField(vm, "swap_in_remaining_bytes") > 0) return "swapping in";
  if (NumberField(vm, "swap_out_target_bytes") > 0) return "swapping out";
  return state;
}

// A heading and lines of "label  value  what that means".
class Section {
 public:
  explicit Section(std::string heading) : heading_(std::move(heading)) {}

  void Add(const char* label, std::string value, std::string note = "") {
    lines_.AddRow({label, std::move(value), std::move(note)});
  }
  std::string ToString() const { return absl::StrCat("\n", heading_, "\n", lines_.ToString("  ")); }

 private:
  std::string heading_;
  Table lines_{{Align::kLeft, Align::kRight, Align::kLeft}};
};

std::string HeadOf(const Json& vm) {
  const std::string name = TextField(vm, "name");
  const std::string state = TextField(vm, "state");
  std::string text =
      absl::StrFormat("VM %s: %s (QEMU process %d)\n", name, state, NumberField(vm, "pid"));
  if (state == "held") {
    absl::StrAppend(&text, "HELD: ", TextField(vm, "held_reason"), "\n", "  ",
                    PagesAndSize(NumberField(vm, "held_pages")),
                    " cannot be produced. Nothing is guessed: what touches them waits, the rest of "
                    "the\n  guest runs on, and ebbd keeps trying.\n");
  } else if (state == "detaching") {
    text += "  Every page is being brought back; after that Ebb leaves this VM alone.\n";
  }
  if (const std::string error = TextField(vm, "detach_error"); !error.empty()) {
    absl::StrAppend(&text, "  The last detach was given up: ", error, "\n");
  }
  const uint64_t target = NumberField(vm, "swap_out_target_bytes");
  const uint64_t remaining = NumberField(vm, "swap_in_remaining_bytes");
  if (target > 0) {
    absl::StrAppend(&text, "  A swap-out is running, down to ", HumanSize(target), " resident.\n");
  }
  if (remaining > 0) {
    absl::StrAppend(&text, "  A swap-in is running, ", HumanSize(remaining), " to go.\n");
  }
  return text;
}

void AddPlan(const Json& vm, Section* section) {
  const std::string effect =
      IsHeldByBudget(vm)
          ? absl::StrCat("at most ", HumanSize(NumberField(vm, "target_bytes")), " resident")
          : "which holds it back no further";
  section->Add("Planned", HumanSize(NumberField(vm, "planned_bytes")),
               absl::StrCat("its part of the host's budget, by a weight of ",
                            NumberField(vm, "weight"), ": ", effect));
}

Section MemorySection(const Json& vm) {
  const uint64_t ram = NumberField(vm, "ram_bytes");
  const uint64_t limit = NumberField(vm, "limit_bytes");
  const uint64_t resident = NumberField(vm, "resident_bytes");
  const uint64_t swapped = NumberField(vm, "swapped_bytes");
  Section section("Guest memory");
  section.Add("RAM", HumanSize(ram), "what the guest was given");
  section.Add("Resident", HumanSize(resident), "in the host's memory now");
  section.Add("Swapped out", HumanSize(swapped), "taken by Ebb; back as soon as it is touched");
  section.Add("Not used", HumanSize(Less(ram, resident + swapped)),
              "never touched, or given up by the guest; costs nothing");
  const uint64_t planned = NumberField(vm, "planned_bytes");
  if (limit > 0) {
    section.Add("Limit", HumanSize(limit),
                absl::StrCat("Ebb keeps the resident part at or below this; ",
                             Percent(resident, limit), " in use"));
  } else {
    section.Add("Limit", "none",
                planned > 0 ? "set by hand; see Planned" : "Ebb takes nothing by itself");
  }
  if (planned > 0) AddPlan(vm, &section);
  if (const uint64_t guarantee = NumberField(vm, "guarantee_bytes"); guarantee > 0) {
    section.Add("Guaranteed", HumanSize(guarantee), "stay resident, as far as they are used");
  }
  return section;
}

Section StorageSection(const Json& vm) {
  const uint64_t same_filled = NumberField(vm, "same_filled_pages");
  Section section("What the swapped-out pages cost");
  section.Add(
      "Pool", HumanSize(NumberField(vm, "pool_used_bytes")),
      absl::StrCat("of host memory, for ", HumanSize(NumberField(vm, "pool_original_bytes")),
                   " of pages; compression ratio ", RatioOf(vm)));
  if (vm.contains("pool_full") && vm["pool_full"].is_boolean() && vm["pool_full"].get<bool>()) {
    section.Add("", "FULL", "what would be swapped out stays resident; see: ebbctl tier");
  }
  const uint64_t disk = NumberField(vm, "disk_used_bytes");
  if (disk > 0) {
    section.Add(
        "Disk", HumanSize(disk),
        absl::StrCat("of the disk, for ", HumanSize(NumberField(vm, "disk_bytes")), " of pages"));
  }
  section.Add("Bookkeeping", HumanSize(BookkeepingBytes(vm)),
              "of host memory: page words and records");
  section.Add("Same-filled", HumanSize(PagesToBytes(same_filled)),
              absl::StrCat(HumanCount(same_filled), same_filled == 1 ? " page" : " pages",
                           " of one repeated value, need no storage"));
  const uint64_t incompressible = NumberField(vm, "incompressible_pages");
  if (incompressible > 0) {
    section.Add("Resident", HumanSize(PagesToBytes(incompressible)),
                "that compression would not make a quarter smaller");
  }
  section.Add("Saved", HumanSize(SavedBytes(vm)),
              "of host memory: swapped out less pool and bookkeeping");
  return section;
}

Section FaultSection(const Json& vm) {
  const uint64_t paced = NumberField(vm, "paced_faults");
  Section section("Faults since attach (the guest touched a page Ebb watches)");
  section.Add("All", HumanCount(NumberField(vm, "faults")));
  section.Add("Zero pages", HumanCount(NumberField(vm, "zero_faults")), "first touch of a page");
  section.Add("Writes", HumanCount(NumberField(vm, "write_protect_faults")),
              "to a page that was about to be taken");
  section.Add("Swap-in p50", HumanMicroseconds(RealField(vm, "fault_p50_us")),
              "half of the pages came back within this");
  section.Add("Swap-in p99", HumanMicroseconds(RealField(vm, "fault_p99_us")),
              "all but 1 of 100 came back within this");
  section.Add(
      "Paced", HumanCount(paced),
      absl::StrCat("slowed because the VM was at its limit; ",
                   paced == 0
                       ? "none so far"
                       : HumanMicroseconds(static_cast<double>(NumberField(vm, "paced_us_total"))) +
                             " in all"));
  if (const uint64_t no_memory = NumberField(vm, "no_memory_faults"); no_memory > 0) {
    section.Add("Found no memory", HumanCount(no_memory),
                "had to wait: the host or its memory cgroup was full");
  }
  return section;
}

Section TrafficSection(const Json& vm) {
  const auto add = [&vm](Section& section, const char* label, const char* field, const char* note) {
    const uint64_t pages = NumberField(vm, field);
    section.Add(label, HumanSize(PagesToBytes(pages)),
                absl::StrCat(HumanCount(pages), pages == 1 ? " page" : " pages", note));
  };
  Section section("Pages moved since attach");
  add(section, "Swapped out", "pages_swapped_out", "");
  add(section, "Swapped in", "pages_swapped_in", "");
  add(section, "Given back", "pages_given_back", ", touched just before they were taken");
  add(section, "Discarded", "pages_discarded", ", given up by the guest while swapped out");
  if (NumberField(vm, "pages_written_back") > 0) {
    add(section, "To the disk", "pages_written_back", "");
    add(section, "Read ahead", "pages_read_ahead", ", swapped in with another one's block");
  }
  return section;
}

Section ReclaimSection(const Json& vm) {
  const uint64_t wanted = NumberField(vm, "reserve_target_pages");
  Section section("Being taken now");
  section.Add("Cooling", HumanSize(PagesToBytes(NumberField(vm, "cooling_pages"))),
              "unmapped, to see whether the guest touches them");
  section.Add("Guarded", HumanSize(PagesToBytes(NumberField(vm, "guarded_pages"))),
              "write-protected, until disk I/O that was in flight is over");
  section.Add("Ready", HumanSize(PagesToBytes(NumberField(vm, "ready_pages"))),
              wanted == 0 ? "can go at once"
                          : absl::StrCat("can go at once; ", HumanSize(PagesToBytes(wanted)),
                                         " are wanted in reserve"));
  return section;
}

Section BarrierSection(const Json& vm) {
  const auto ms = [&vm](const char* field) {
    return HumanMicroseconds(1000 * RealField(vm, field));
  };
  const std::string mode = TextField(vm, "barrier_mode");
  Section section("I/O barrier (how Ebb knows that no device still writes into a page)");
  section.Add("Mode", mode.empty() ? "-" : mode,
              mode == "qmp"     ? "QEMU is asked to finish its disk I/O"
              : mode == "grace" ? "no QMP connection: pages wait a grace time instead"
                                : "");
  section.Add("Done", HumanCount(NumberField(vm, "barriers")),
              absl::StrCat("p50 ", ms("barrier_p50_ms"), ", p99 ", ms("barrier_p99_ms"),
                           "; at most one every ", ms("barrier_interval_ms")));
  return section;
}

}  // namespace

// find() on what is not an object finds nothing.
uint64_t NumberField(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

double RealField(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}

std::string TextField(const Json& json, const char* field) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_string()) return "";
  std::string text = found->get<std::string>();
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) text[i] = '?';
    // A control character of Latin-1, which terminals obey too.
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      text.replace(i, 2, "?");
    }
  }
  return text;
}

const Json& VmsOf(const Json& vms) {
  static const Json kNone = Json::array();
  const auto found = vms.find("vms");
  return found != vms.end() && found->is_array() ? *found : kNone;
}

bool IsHeldByBudget(const Json& vm) {
  const uint64_t limit = NumberField(vm, "limit_bytes");
  const uint64_t target = NumberField(vm, "target_bytes");
  // A limit need not be whole pages.
  return NumberField(vm, "planned_bytes") > 0 && target > 0 &&
         (limit == 0 || target + kPageBytes <= limit);
}

std::string MemoryInOneLine(const Json& vm) {
  return absl::StrCat(HumanSize(NumberField(vm, "resident_bytes")), " resident, ",
                      HumanSize(NumberField(vm, "swapped_bytes")), " swapped out");
}

std::string StatusView(const Json& host, const Json& vms) {
  std::string text =
      absl::StrFormat("ebbd %s: %s (process %d, up %s, Linux %s)\n", TextField(host, "version"),
                      TextField(host, "state"), NumberField(host, "pid"),
                      HumanDuration(RealField(host, "uptime_s")), TextField(host, "kernel"));
  if (const std::string refused = TextField(host, "stop_refused"); !refused.empty()) {
    absl::StrAppend(&text, "The last request to stop was refused: ", refused, "\n");
  }

  uint64_t ram = 0;
  uint64_t resident = 0;
  uint64_t swapped = 0;
  uint64_t pool = 0;
  uint64_t disk = 0;
  uint64_t cost = 0;
  uint64_t saved = 0;
  std::string held;
  for (const Json& vm : VmsOf(vms)) {
    ram += NumberField(vm, "ram_bytes");
    resident += NumberField(vm, "resident_bytes");
    swapped += NumberField(vm, "swapped_bytes");
    pool += NumberField(vm, "pool_used_bytes");
    disk += NumberField(vm, "disk_bytes");
    cost += NumberField(vm, "pool_used_bytes") + BookkeepingBytes(vm);
    saved += SavedBytes(vm);
    if (TextField(vm, "state") == "held") {
      absl::StrAppend(&held, "HELD: ", TextField(vm, "name"), ": ", TextField(vm, "held_reason"),
                      "\n");
    }
  }
  const uint64_t detached = NumberField(host, "detached_vms");
  Section section("All VMs");
  section.Add("VMs", HumanCount(NumberField(host, "vms")), "attached; ebbctl list shows them");
  section.Add("Detached", HumanCount(detached),
              detached == 0 ? "none since ebbd started"
                            : "since ebbd started, because Ebb could not go on; see ebbd's log");
  section.Add("RAM", HumanSize(ram), "what the guests were given");
  section.Add("Resident", HumanSize(resident), "in the host's memory now");
  section.Add("Swapped out", HumanSize(swapped),
              absl::StrCat("kept in ", HumanSize(cost), " of host memory"));
  if (disk > 0) section.Add("On disk", HumanSize(disk), "of what is swapped out; see: ebbctl tier");
  section.Add("Saved", HumanSize(saved), "of host memory");
  if (const uint64_t budget = NumberField(host, "budget_bytes"); budget > 0) {
    section.Add("Budget", HumanSize(budget),
                absl::StrCat("of host memory for all of that; ", HumanSize(resident + cost),
                             " in use, ", Percent(resident + cost, budget)));
  }
  if (const uint64_t most = NumberField(host, "pool_max_bytes"); most > 0) {
    section.Add("Pool", HumanSize(pool),
                absl::StrCat("of at most ", HumanSize(most), ", ", Percent(pool, most)));
  }
  if (const uint64_t missing = NumberField(host, "budget_missing_bytes"); missing > 0) {
    section.Add("Missing", HumanSize(missing),
                "more than the budget is what is guaranteed, and what the rest takes compressed: "
                "raise it, lower guarantees, or move a VM away");
  }
  return absl::StrCat(
      text, held, section.ToString(),
      "\nKilling ebbd (kill -9, a crash) stops its VMs for good until crash recovery exists.\n"
      "A clean stop (SIGTERM) is safe: it brings every page back first.\n");
}

std::string ListView(const Json& vms) {
  if (VmsOf(vms).empty()) return kNoVms;
  const auto& all = VmsOf(vms);
  const bool uses_disk = std::any_of(
      all.begin(), all.end(), [](const Json& vm) { return NumberField(vm, "disk_bytes") > 0; });
  std::vector<std::string> head = {"NAME",    "STATE", "RAM",   "LIMIT", "RESIDENT",
                                   "SWAPPED", "POOL",  "RATIO", "SAVED", "FAULT p99"};
  if (uses_disk) head.insert(head.begin() + kDiskColumn, "DISK");
  std::vector<Align> alignments(head.size(), Align::kRight);
  alignments[0] = alignments[1] = Align::kLeft;
  Table table(alignments);
  table.AddRow(head);
  std::string notes;
  for (const Json& vm : all) {
    const uint64_t limit = LimitInForce(vm);
    const std::string name = TextField(vm, "name");
    std::vector<std::string> row = {name,
                                    ActivityOf(vm),
                                    HumanSize(NumberField(vm, "ram_bytes")),
                                    limit == 0 ? "none" : HumanSize(limit),
                                    HumanSize(NumberField(vm, "resident_bytes")),
                                    HumanSize(NumberField(vm, "swapped_bytes")),
                                    HumanSize(NumberField(vm, "pool_used_bytes")),
                                    RatioOf(vm),
                                    HumanSize(SavedBytes(vm)),
                                    HumanMicroseconds(RealField(vm, "fault_p99_us"))};
    if (uses_disk) {
      row.insert(row.begin() + kDiskColumn, HumanSize(NumberField(vm, "disk_bytes")));
    }
    table.AddRow(row);
    if (TextField(vm, "state") == "held") {
      absl::StrAppend(&notes, name, " is held: ", TextField(vm, "held_reason"), "\n");
    }
  }
  return table.ToString() + (notes.empty() ? "" : "\n" + notes);
}

std::string VmView(const Json& vm) {
  if (TextField(vm, "state") == "detached") {
    const std::string name = TextField(vm, "name");
    return absl::StrCat(name, ": detached; QEMU (process ", NumberField(vm, "pid"),
                        ") runs on without Ebb\nTo let it return: ebbctl attach ", name, "\n");
  }
  return absl::StrCat(HeadOf(vm), MemorySection(vm).ToString(), StorageSection(vm).ToString(),
                      TrafficSection(vm).ToString(), FaultSection(vm).ToString(),
                      ReclaimSection(vm).ToString(), BarrierSection(vm).ToString());
}

}  // namespace ebb
