// SPDX-License-Identifier: MIT
#include "hostd/control/status_json.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace ebb {
namespace {

using nlohmann::ordered_json;

// Gives every field another value, and says which JSON it must become. The fields are bound by
// position and named in the struct's order: when a field was added to the struct this no longer
// compiles, and status_json.cc needs the field too.
template <typename... Fields>
ordered_json FillAndExpect(const std::vector<const char*>& names, Fields&... fields) {
  EXPECT_EQ(names.size(), sizeof...(fields));
  ordered_json expected = ordered_json::object();
  size_t i = 0;
  const auto fill = [&](auto& field) {
    using Field = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, std::string>) {
      field = std::string("text of ") + names[i];
    } else if constexpr (std::is_same_v<Field, double>) {
      field = static_cast<double>(i) + 0.25;
    } else if constexpr (std::is_same_v<Field, uint64_t>) {
      field = UINT64_MAX - i;
    } else {
      field = static_cast<Field>(1000 + i);
    }
    expected[names[i]] = field;
    ++i;
  };
  (fill(fields), ...);
  return expected;
}

// Names and bindings come from one list.
#define EBB_BIND_AND_FILL(object, expected, ...) \
  auto& [__VA_ARGS__] = object;                  \
  const ordered_json expected = FillAndExpect(Split(#__VA_ARGS__), __VA_ARGS__)

std::vector<const char*> Split(std::string list) {
  static std::vector<std::string> names;
  names.clear();
  size_t begin = 0;
  while (begin <= list.size()) {
    const size_t end = std::min(list.find(", ", begin), list.size());
    names.push_back(list.substr(begin, end - begin));
    begin = end + 2;
  }
  std::vector<const char*> result;
  for (const std::string& name : names) result.push_back(name.c_str());
  return result;
}

TEST(StatusJson, HasEveryFieldOfVmStatusInItsOrder) {
  VmStatus vm;
  EBB_BIND_AND_FILL(
      vm, expected, name, pid, state, held_reason, held_pages, detach_error, ram_bytes, limit_bytes,
      guarantee_bytes, weight, planned_bytes, target_bytes, resident_bytes, swapped_bytes,
      swap_out_target_bytes, swap_in_remaining_bytes, pool_original_bytes, pool_compressed_bytes,
      pool_used_bytes, pool_full, disk_bytes, disk_used_bytes, disk_full, same_filled_pages,
      incompressible_pages, page_word_bytes, record_bytes, pages_swapped_out, pages_swapped_in,
      pages_given_back, pages_discarded, pages_written_back, pages_read_ahead, faults, zero_faults,
      write_protect_faults, fault_p50_us, fault_p99_us, paced_faults, paced_us_total,
      no_memory_faults, barrier_mode, barriers, barrier_p50_ms, barrier_p99_ms, barrier_interval_ms,
      cooling_pages, guarded_pages, ready_pages, reserve_target_pages);
  EXPECT_EQ(Serialize(ToJson(vm)), expected.dump());
  EXPECT_EQ(vm.resident_bytes, expected["resident_bytes"].get<uint64_t>());
  // And back, through text.
  EXPECT_EQ(ordered_json::parse(Serialize(ToJson(vm))), expected);
}

TEST(StatusJson, HasEveryFieldOfHostStatusInItsOrder) {
  HostStatus host;
  EBB_BIND_AND_FILL(host, expected, version, pid, uptime_s, started_s, kernel, state, stop_refused,
                    vms, budget_bytes, budget_missing_bytes, pool_max_bytes, detached_vms);
  EXPECT_EQ(Serialize(ToJson(host)), expected.dump());
  EXPECT_EQ(ordered_json::parse(Serialize(ToJson(host))), expected);
}

TEST(StatusJson, HasEveryFieldOfTierStatusInItsOrder) {
  TierStatus status;
  EBB_BIND_AND_FILL(status, expected, tier, path, state, message, max_bytes, taken_bytes,
                    used_bytes, original_bytes, reads, failed_reads, written_blocks, failed_writes);
  EXPECT_EQ(Serialize(ToJson(status)), expected.dump());
}

TEST(StatusJson, HasEveryFieldOfEvents) {
  Event event;
  EventBatch batch;
  {
    // Stops compiling when a field is added.
    auto& [seq, time_ms, vm, kind, message] = event;
    seq = UINT64_MAX;
    time_ms = 1769903999999;
    vm = "web";
    kind = EventKind::kVmHeld;
    message = "it \"burns\"";
    auto& [events, next, lost] = batch;
    events = {event};
    next = 7;
    lost = 3;
  }
  EXPECT_EQ(Serialize(ToJson(batch)),
            "{\"events\":[{\"seq\":18446744073709551615,\"time\":\"2026-01-31T23:59:59.999Z\","
            "\"vm\":\"web\",\"kind\":\"vm_held\",\"message\":\"it \\\"burns\\\"\"}],"
            "\"next\":7,\"lost\":3}");
}

TEST(StatusJson, ReplacesWhatIsNotUtf8) {
  VmStatus vm;
  vm.held_reason = "disk \xff\xfe gone";
  const ordered_json json = ordered_json::parse(Serialize(ToJson(vm)), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["held_reason"], "disk \xef\xbf\xbd\xef\xbf\xbd gone");
}

}  // namespace
}  // namespace ebb
