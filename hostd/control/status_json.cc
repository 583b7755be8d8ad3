// SPDX-License-Identifier: MIT
#include "hostd/control/status_json.h"

#include <utility>

#include "hostd/base/wall_time.h"
#include "nlohmann/json.hpp"

namespace ebb {

// The struct's own field name, so that the two cannot differ. A test binds the structs' fields one
// by one and stops compiling when one was added, so that none is forgotten here.
#define EBB_FIELD(object, field) \
  { #field, object.field }

nlohmann::ordered_json ToJson(const VmStatus& vm) {
  return {
      EBB_FIELD(vm, name),
      EBB_FIELD(vm, pid),
      EBB_FIELD(vm, state),
      EBB_FIELD(vm, held_reason),
      EBB_FIELD(vm, held_pages),
      EBB_FIELD(vm, detach_error),
      EBB_FIELD(vm, ram_bytes),
      EBB_FIELD(vm, limit_bytes),
      EBB_FIELD(vm, guarantee_bytes),
      EBB_FIELD(vm, weight),
      EBB_FIELD(vm, planned_bytes),
      EBB_FIELD(vm, target_bytes),
      EBB_FIELD(vm, resident_bytes),
      EBB_FIELD(vm, swapped_bytes),
      EBB_FIELD(vm, swap_out_target_bytes),
      EBB_FIELD(vm, swap_in_remaining_bytes),
      EBB_FIELD(vm, pool_original_bytes),
      EBB_FIELD(vm, pool_compressed_bytes),
      EBB_FIELD(vm, pool_used_bytes),
      EBB_FIELD(vm, pool_full),
      EBB_FIELD(vm, disk_bytes),
      EBB_FIELD(vm, disk_used_bytes),
      EBB_FIELD(vm, disk_full),
      EBB_FIELD(vm, same_filled_pages),
      EBB_FIELD(vm, incompressible_pages),
      EBB_FIELD(vm, page_word_bytes),
      EBB_FIELD(vm, record_bytes),
      EBB_FIELD(vm, pages_swapped_out),
      EBB_FIELD(vm, pages_swapped_in),
      EBB_FIELD(vm, pages_given_back),
      EBB_FIELD(vm, pages_discarded),
      EBB_FIELD(vm, pages_written_back),
      EBB_FIELD(vm, pages_read_ahead),
      EBB_FIELD(vm, faults),
      EBB_FIELD(vm, zero_faults),
      EBB_FIELD(vm, write_protect_faults),
      EBB_FIELD(vm, fault_p50_us),
      EBB_FIELD(vm, fault_p99_us),
      EBB_FIELD(vm, paced_faults),
      EBB_FIELD(vm, paced_us_total),
      EBB_FIELD(vm, no_memory_faults),
      EBB_FIELD(vm, barrier_mode),
      EBB_FIELD(vm, barriers),
      EBB_FIELD(vm, barrier_p50_ms),
      EBB_FIELD(vm, barrier_p99_ms),
      EBB_FIELD(vm, barrier_interval_ms),
      EBB_FIELD(vm, cooling_pages),
      EBB_FIELD(vm, guarded_pages),
      EBB_FIELD(vm, ready_pages),
      EBB_FIELD(vm, reserve_target_pages),
  };
}

nlohmann::ordered_json ToJson(const HostStatus& host) {
  return {
      EBB_FIELD(host, version),        EBB_FIELD(host, pid),
      EBB_FIELD(host, uptime_s),       EBB_FIELD(host, started_s),
      EBB_FIELD(host, kernel),         EBB_FIELD(host, state),
      EBB_FIELD(host, stop_refused),   EBB_FIELD(host, vms),
      EBB_FIELD(host, budget_bytes),   EBB_FIELD(host, budget_missing_bytes),
      EBB_FIELD(host, pool_max_bytes), EBB_FIELD(host, detached_vms),
  };
}

nlohmann::ordered_json ToJson(const TierStatus& tier) {
  return {
      EBB_FIELD(tier, tier),           EBB_FIELD(tier, path),
      EBB_FIELD(tier, state),          EBB_FIELD(tier, message),
      EBB_FIELD(tier, max_bytes),      EBB_FIELD(tier, taken_bytes),
      EBB_FIELD(tier, used_bytes),     EBB_FIELD(tier, original_bytes),
      EBB_FIELD(tier, reads),          EBB_FIELD(tier, failed_reads),
      EBB_FIELD(tier, written_blocks), EBB_FIELD(tier, failed_writes),
  };
}

nlohmann::ordered_json ToJson(const EventBatch& batch) {
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (const Event& event : batch.events) {
    events.push_back({EBB_FIELD(event, seq),
                      {"time", UtcText(event.time_ms)},
                      EBB_FIELD(event, vm),
                      {"kind", EventKindName(event.kind)},
                      EBB_FIELD(event, message)});
  }
  return {{"events", std::move(events)}, EBB_FIELD(batch, next), EBB_FIELD(batch, lost)};
}

std::string Serialize(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false,
                   nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ebb
