// SPDX-License-Identifier: MIT
#include "hostd/ctl/metrics.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/base/units.h"
#include "hostd/ctl/tiers.h"

namespace ebb {
namespace {

// What a figure of the control API is multiplied with for Prometheus, which wants base units.
enum class Scale { kAsIs, kPagesToBytes, kMicrosecondsToSeconds, kMillisecondsToSeconds };

// A metric of every attached VM that is one field of its status.
struct VmMetric {
  const char* name;
  const char* type;
  const char* help;
  const char* field;
  Scale scale;
  const char* label = nullptr;  // with `label_value`, besides the VM's name
  const char* label_value = nullptr;
};

// Metrics of one name stand together. Counters start again at 0 when a VM attaches.
constexpr VmMetric kVmMetrics[] = {
    {"ebb_vm_faults_total", "counter", "Userfaultfd messages that were answered.", "faults",
     Scale::kAsIs},
    {"ebb_vm_zero_faults_total", "counter", "Of the faults: first touches of a page.",
     "zero_faults", Scale::kAsIs},
    {"ebb_vm_write_protect_faults_total", "counter",
     "Of the faults: writes to a page that was about to be swapped out.", "write_protect_faults",
     Scale::kAsIs},
    {"ebb_vm_paced_faults_total", "counter",
     "Of the faults: delayed because the VM was at its limit.", "paced_faults", Scale::kAsIs},
    {"ebb_vm_paced_seconds_total", "counter", "For how long faults were delayed, all together.",
     "paced_us_total", Scale::kMicrosecondsToSeconds},
    {"ebb_vm_no_memory_faults_total", "counter",
     "Of the faults: had to wait because the host, or the VM's memory cgroup, was full.",
     "no_memory_faults", Scale::kAsIs},
    {"ebb_vm_swapped_out_bytes_total", "counter", "Guest memory that was swapped out.",
     "pages_swapped_out", Scale::kPagesToBytes},
    {"ebb_vm_swapped_in_bytes_total", "counter", "Guest memory that was brought back.",
     "pages_swapped_in", Scale::kPagesToBytes},
    {"ebb_vm_given_back_bytes_total", "counter",
     "Guest memory that was touched just before it would have been swapped out.",
     "pages_given_back", Scale::kPagesToBytes},
    {"ebb_vm_discarded_bytes_total", "counter",
     "Guest memory that the guest gave up while it was swapped out.", "pages_discarded",
     Scale::kPagesToBytes},
    {"ebb_vm_written_back_bytes_total", "counter", "Guest memory that was written to the disk.",
     "pages_written_back", Scale::kPagesToBytes},
    {"ebb_vm_read_ahead_bytes_total", "counter",
     "Of what was brought back: came with another page's block of the disk.", "pages_read_ahead",
     Scale::kPagesToBytes},
    {"ebb_vm_planned_bytes", "gauge",
     "What the VM is to cost the host, of its budget; 0 without one.", "planned_bytes",
     Scale::kAsIs},
    {"ebb_vm_guaranteed_bytes", "gauge", "How much stays resident, as far as it is used.",
     "guarantee_bytes", Scale::kAsIs},
    {"ebb_vm_weight", "gauge", "Its share of the budget, compared with VMs of the same size.",
     "weight", Scale::kAsIs},
    {"ebb_vm_pool_original_bytes", "gauge", "Guest memory in the pool, uncompressed.",
     "pool_original_bytes", Scale::kAsIs},
    {"ebb_vm_pool_compressed_bytes", "gauge", "The same, compressed.", "pool_compressed_bytes",
     Scale::kAsIs},
    {"ebb_vm_pool_used_bytes", "gauge", "Host memory that the pool takes for it.",
     "pool_used_bytes", Scale::kAsIs},
    {"ebb_vm_disk_used_bytes", "gauge", "What the VM's pages take of the disk.", "disk_used_bytes",
     Scale::kAsIs},
    {"ebb_vm_incompressible_bytes", "gauge",
     "Stays resident: compression saved less than a quarter when last tried.",
     "incompressible_pages", Scale::kPagesToBytes},
    {"ebb_vm_bookkeeping_bytes", "gauge", "Host memory for what ebbd notes about each page.",
     "page_word_bytes", Scale::kAsIs, "kind", "page_words"},
    {"ebb_vm_bookkeeping_bytes", "gauge", "", "record_bytes", Scale::kAsIs, "kind", "records"},
    {"ebb_vm_cooling_bytes", "gauge", "Unmapped, to see whether the guest touches it.",
     "cooling_pages", Scale::kPagesToBytes},
    {"ebb_vm_guarded_bytes", "gauge", "Write-protected, waiting for an I/O barrier.",
     "guarded_pages", Scale::kPagesToBytes},
    {"ebb_vm_ready_bytes", "gauge", "Past its barrier: the ready reserve.", "ready_pages",
     Scale::kPagesToBytes},
    {"ebb_vm_ready_target_bytes", "gauge", "How large the ready reserve is meant to be.",
     "reserve_target_pages", Scale::kPagesToBytes},
    {"ebb_vm_barriers_total", "counter", "I/O barriers that have completed.", "barriers",
     Scale::kAsIs},
    {"ebb_vm_barrier_interval_seconds", "gauge", "The least time between two I/O barriers.",
     "barrier_interval_ms", Scale::kMillisecondsToSeconds},
};

// Percentiles over everything since the VM attached; there are none before the first one.
constexpr VmMetric kVmPercentiles[] = {
    {"ebb_vm_swap_in_duration_seconds", "gauge",
     "So many percent of the touched pages were back in guest RAM within this time.",
     "fault_p50_us", Scale::kMicrosecondsToSeconds, "percentile", "50"},
    {"ebb_vm_swap_in_duration_seconds", "gauge", "", "fault_p99_us", Scale::kMicrosecondsToSeconds,
     "percentile", "99"},
    {"ebb_vm_barrier_duration_seconds", "gauge",
     "So many percent of the I/O barriers were over within this time.", "barrier_p50_ms",
     Scale::kMillisecondsToSeconds, "percentile", "50"},
    {"ebb_vm_barrier_duration_seconds", "gauge", "", "barrier_p99_ms",
     Scale::kMillisecondsToSeconds, "percentile", "99"},
};

struct Label {
  const char* name;
  std::string value;
};

// As the format wants it: a name may come from anywhere.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// The text so far. Samples of a metric follow its head.
class Exposition {
 public:
  void Head(const char* name, const char* type, const char* help) {
    name_ = name;
    absl::StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  }

  void Sample(const std::vector<Label>& labels, const std::string& value) {
    absl::StrAppend(&text_, name_);
    const char* separator = "{";
    for (const Label& label : labels) {
      absl::StrAppend(&text_, separator, label.name, "=\"", Escaped(label.value), "\"");
      separator = ",";
    }
    absl::StrAppend(&text_, labels.empty() ? " " : "} ", value, "\n");
  }
  void Sample(const std::vector<Label>& labels, uint64_t value) {
    Sample(labels, absl::StrCat(value));
  }

  std::string Take() { return std::move(text_); }

 private:
  const char* name_ = "";
  std::string text_;
};

uint64_t PagesInBytes(uint64_t pages) {
  return PagesToBytes(std::min(pages, BytesToPages(std::numeric_limits<uint64_t>::max())));
}

std::string Seconds(double value) { return absl::StrFormat("%.9f", value); }

std::string Scaled(const Json& vm, const VmMetric& metric) {
  switch (metric.scale) {
    case Scale::kAsIs:
      break;
    case Scale::kPagesToBytes:
      return absl::StrCat(PagesInBytes(NumberField(vm, metric.field)));
    case Scale::kMicrosecondsToSeconds:
      return Seconds(RealField(vm, metric.field) / 1e6);
    case Scale::kMillisecondsToSeconds:
      return Seconds(RealField(vm, metric.field) / 1e3);
  }
  return absl::StrCat(NumberField(vm, metric.field));
}

bool IsDetached(const Json& vm) { return TextField(vm, "state") == "detached"; }

std::vector<Label> LabelsOf(const Json& vm) { return {{"domain", TextField(vm, "name")}}; }

std::vector<Label> LabelsOf(const Json& vm, const char* name, std::string value) {
  return {{"domain", TextField(vm, "name")}, {name, std::move(value)}};
}

void AddHost(const Json& host, const Json& vms, Exposition& out) {
  out.Head("ebb_build_info", "gauge", "The version of ebbd.");
  out.Sample({{"version", TextField(host, "version")}}, 1);
  out.Head("ebb_up_since_timestamp_seconds", "gauge",
           "When ebbd was started, in seconds since 1970.");
  out.Sample({}, absl::StrFormat("%.3f", RealField(host, "started_s")));
  out.Head("ebb_host_state", "gauge", "1 for the state that ebbd is in.");
  for (const char* state : {"running", "stopping"}) {
    out.Sample({{"state", state}}, TextField(host, "state") == state ? 1 : 0);
  }
  out.Head("ebb_stop_refused", "gauge",
           "1 if the last request to stop was refused: swapped memory would not have fit.");
  out.Sample({}, TextField(host, "stop_refused").empty() ? 0 : 1);
  out.Head("ebb_host_budget_bytes", "gauge",
           "What all VMs together may cost the host; absent without a budget.");
  if (const uint64_t budget = NumberField(host, "budget_bytes"); budget > 0) {
    out.Sample({}, budget);
  }
  out.Head("ebb_host_budget_missing_bytes", "gauge",
           "By how much the least that the VMs can be brought to exceeds the budget. Must be 0.");
  out.Sample({}, NumberField(host, "budget_missing_bytes"));
  out.Head("ebb_vms", "gauge", "VMs in each state.");
  for (const char* state : {"running", "detaching", "held", "detached"}) {
    const auto& all = VmsOf(vms);
    const auto in_state = std::count_if(
        all.begin(), all.end(), [&](const Json& vm) { return TextField(vm, "state") == state; });
    out.Sample({{"state", state}}, static_cast<uint64_t>(in_state));
  }
  out.Head("ebb_detached_vms_total", "counter",
           "VMs that ebbd let go of because it could not go on with them.");
  out.Sample({}, NumberField(host, "detached_vms"));
}

// A figure of a tier that is one field of it.
struct TierMetric {
  const char* name;
  const char* type;
  const char* help;
  const char* field;
  uint64_t scale = 1;
  bool disk_only = false;
};
constexpr TierMetric kTierMetrics[] = {
    {"ebb_tier_original_bytes", "gauge", "Guest memory in a tier, uncompressed.", "original_bytes"},
    {"ebb_tier_used_bytes", "gauge", "What the tier takes for it.", "used_bytes"},
    {"ebb_tier_taken_bytes", "gauge", "What VMs have of the tier for themselves.", "taken_bytes"},
    {"ebb_tier_reads_total", "counter", "Reads of a block that went well.", "reads", 1, true},
    {"ebb_tier_failed_reads_total", "counter", "Reads of a block that failed.", "failed_reads", 1,
     true},
    {"ebb_tier_written_bytes_total", "counter", "What was written, in whole blocks.",
     "written_blocks", kPageBytes, true},
    {"ebb_tier_failed_writes_total", "counter", "Writes that failed; nothing is lost by that.",
     "failed_writes", 1, true},
};

void AddTiers(const Json& tiers, Exposition& out) {
  for (const TierMetric& metric : kTierMetrics) {
    out.Head(metric.name, metric.type, metric.help);
    for (const Json& tier : TiersOf(tiers)) {
      const std::string name = TextField(tier, "tier");
      if (metric.disk_only && name != "disk") continue;
      out.Sample({{"tier", name}}, NumberField(tier, metric.field) * metric.scale);
    }
  }
  out.Head("ebb_tier_max_bytes", "gauge", "What a tier may take; absent without a maximum.");
  for (const Json& tier : TiersOf(tiers)) {
    const uint64_t most = NumberField(tier, "max_bytes");
    if (most > 0) out.Sample({{"tier", TextField(tier, "tier")}}, most);
  }
  out.Head("ebb_tier_state", "gauge", "1 for the state that a tier is in.");
  for (const Json& tier : TiersOf(tiers)) {
    for (const char* state : {"ok", "full", "failing", "stalled"}) {
      out.Sample({{"tier", TextField(tier, "tier")}, {"state", state}},
                 TextField(tier, "state") == state ? 1 : 0);
    }
  }
}

// What is known of a detached VM, too.
void AddPlaces(const Json& vms, Exposition& out) {
  out.Head("ebb_vm_configured_bytes", "gauge", "Memory that the guest was given.");
  for (const Json& vm : VmsOf(vms)) out.Sample(LabelsOf(vm), NumberField(vm, "ram_bytes"));
  out.Head("ebb_vm_memory_bytes", "gauge",
           "The guest's memory by where its content is; adds up to ebb_vm_configured_bytes.");
  for (const Json& vm : VmsOf(vms)) {
    const MemoryPlaces places = PlacesOf(vm);
    out.Sample(LabelsOf(vm, "where", "resident"), places.resident);
    out.Sample(LabelsOf(vm, "where", "pool"), places.pool);
    out.Sample(LabelsOf(vm, "where", "disk"), places.disk);
    out.Sample(LabelsOf(vm, "where", "zero"), places.zero);
    out.Sample(LabelsOf(vm, "where", "untouched"), places.untouched);
    out.Sample(LabelsOf(vm, "where", "unmanaged"), places.unmanaged);
  }
  out.Head("ebb_vm_limit_bytes", "gauge", "How much may be resident; absent without a limit.");
  for (const Json& vm : VmsOf(vms)) {
    const uint64_t limit = NumberField(vm, "limit_bytes");
    if (limit > 0) out.Sample(LabelsOf(vm), limit);
  }
  out.Head("ebb_vm_target_bytes", "gauge",
           "The lower of the limit and the plan for the host's budget; absent without both.");
  for (const Json& vm : VmsOf(vms)) {
    const uint64_t target = NumberField(vm, "target_bytes");
    if (target > 0) out.Sample(LabelsOf(vm), target);
  }
}

void AddHeld(const Json& vms, Exposition& out) {
  out.Head("ebb_vm_held", "gauge", "1 if the VM has a page that cannot be produced.");
  for (const Json& vm : VmsOf(vms)) {
    out.Sample(LabelsOf(vm), TextField(vm, "state") == "held" ? 1 : 0);
  }
  out.Head("ebb_vm_held_pages", "gauge",
           "Pages that cannot be produced now: threads that touch them wait. Must be 0.");
  for (const Json& vm : VmsOf(vms)) out.Sample(LabelsOf(vm), NumberField(vm, "held_pages"));
}

void AddInfo(const Json& vms, Exposition& out) {
  out.Head("ebb_vm_info", "gauge", "1 for each attached VM, and how its I/O barriers are made.");
  for (const Json& vm : VmsOf(vms)) {
    if (!IsDetached(vm)) out.Sample(LabelsOf(vm, "barrier", TextField(vm, "barrier_mode")), 1);
  }
}

template <size_t kCount>
void AddFields(const Json& vms, const VmMetric (&metrics)[kCount], bool without_zeros,
               Exposition& out) {
  for (const VmMetric* metric = metrics; metric != std::end(metrics);) {
    const std::string_view name = metric->name;
    const VmMetric* const first = metric;
    metric = std::find_if(first, std::end(metrics),
                          [&](const VmMetric& other) { return other.name != name; });
    out.Head(first->name, first->type, first->help);
    for (const Json& vm : VmsOf(vms)) {
      if (IsDetached(vm)) continue;
      for (const VmMetric* part = first; part != metric; ++part) {
        if (without_zeros && !(RealField(vm, part->field) > 0)) continue;
        out.Sample(
            part->label == nullptr ? LabelsOf(vm) : LabelsOf(vm, part->label, part->label_value),
            Scaled(vm, *part));
      }
    }
  }
}

}  // namespace

MemoryPlaces PlacesOf(const Json& vm) {
  MemoryPlaces places;
  uint64_t left = NumberField(vm, "ram_bytes");
  const auto take = [&left](uint64_t wanted) {
    const uint64_t taken = std::min(wanted, left);
    left -= taken;
    return taken;
  };
  if (IsDetached(vm)) {
    places.unmanaged = take(left);
    return places;
  }
  places.resident = take(NumberField(vm, "resident_bytes"));
  const uint64_t swapped = take(NumberField(vm, "swapped_bytes"));
  places.zero = std::min(swapped, PagesInBytes(NumberField(vm, "same_filled_pages")));
  places.disk = std::min(swapped - places.zero, NumberField(vm, "disk_bytes"));
  places.pool = swapped - places.zero - places.disk;
  places.untouched = left;
  return places;
}

std::string MetricsText(const Json& host, const Json& vms, const Json& tiers) {
  Exposition out;
  AddHost(host, vms, out);
  AddTiers(tiers, out);
  AddInfo(vms, out);
  AddPlaces(vms, out);
  AddHeld(vms, out);
  AddFields(vms, kVmMetrics, /*without_zeros=*/false, out);
  AddFields(vms, kVmPercentiles, /*without_zeros=*/true, out);
  return out.Take();
}

}  // namespace ebb
