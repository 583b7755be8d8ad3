// SPDX-License-Identifier: MIT
#include "hostd/ctl/metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "hostd/base/units.h"
#include "hostd/control/status_json.h"
#include "tests/hostd/ctl/ebbctl_fixture.h"

namespace ebb {
namespace {

Json VmWith(uint64_t ram, uint64_t resident, uint64_t swapped, uint64_t same_filled_pages) {
  VmStatus vm;
  vm.name = "web";
  vm.state = "running";
  vm.ram_bytes = ram;
  vm.resident_bytes = resident;
  vm.swapped_bytes = swapped;
  vm.same_filled_pages = same_filled_pages;
  return ToJson(vm);
}

// With carry, so that a sum that has wrapped around does not pass.
uint64_t SumOf(const MemoryPlaces& places) {
  uint64_t sum = 0;
  for (const uint64_t part : {places.resident, places.pool, places.disk, places.zero,
                              places.untouched, places.unmanaged}) {
    EXPECT_FALSE(__builtin_add_overflow(sum, part, &sum));
  }
  return sum;
}

TEST(MemoryPlaces, AreWhereTheContentIs) {
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 30 * kMiB, 50 * kMiB, BytesToPages(20 * kMiB))),
            (MemoryPlaces{30 * kMiB, 30 * kMiB, 0, 20 * kMiB, 20 * kMiB, 0}));
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 0, 0, 0)), (MemoryPlaces{0, 0, 0, 0, 100 * kMiB, 0}));
}

TEST(MemoryPlaces, WhatIsOnTheDiskIsNotInThePool) {
  Json vm = VmWith(100 * kMiB, 30 * kMiB, 50 * kMiB, BytesToPages(20 * kMiB));
  vm["disk_bytes"] = 10 * kMiB;
  EXPECT_EQ(PlacesOf(vm), (MemoryPlaces{30 * kMiB, 20 * kMiB, 10 * kMiB, 20 * kMiB, 20 * kMiB, 0}));
  vm["disk_bytes"] = UINT64_MAX;
  EXPECT_EQ(PlacesOf(vm), (MemoryPlaces{30 * kMiB, 0, 30 * kMiB, 20 * kMiB, 20 * kMiB, 0}));
}

TEST(MemoryPlaces, WhatDoesNotFitIsClamped) {
  // A page that was swapped out between the two looks counts once.
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 60 * kMiB, 41 * kMiB, 0)),
            (MemoryPlaces{60 * kMiB, 40 * kMiB, 0, 0, 0, 0}));
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 200 * kMiB, 41 * kMiB, 7)),
            (MemoryPlaces{100 * kMiB, 0, 0, 0, 0, 0}));
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 60 * kMiB, 10 * kMiB, BytesToPages(20 * kMiB))),
            (MemoryPlaces{60 * kMiB, 0, 0, 10 * kMiB, 30 * kMiB, 0}));
  EXPECT_EQ(PlacesOf(VmWith(100 * kMiB, 0, 10 * kMiB, UINT64_MAX)),
            (MemoryPlaces{0, 0, 0, 10 * kMiB, 90 * kMiB, 0}));
}

TEST(MemoryPlaces, OfADetachedVmAreNotEbbsToTell) {
  Json vm = VmWith(100 * kMiB, 30 * kMiB, 50 * kMiB, 3);
  vm["state"] = "detached";
  EXPECT_EQ(PlacesOf(vm), (MemoryPlaces{0, 0, 0, 0, 0, 100 * kMiB}));
}

TEST(MemoryPlaces, AddUpWhateverTheFiguresAre) {
  std::mt19937_64 random(1);
  const uint64_t kSpecial[] = {0, 1, 4095, 4096, 4097, UINT64_MAX, UINT64_MAX - 4095, 1ull << 63};
  const auto any = [&]() -> uint64_t {
    switch (random() % 3) {
      case 0:
        return kSpecial[random() % std::size(kSpecial)];
      case 1:
        return random() % 1000;
      default:
        return random() >> (random() % 64);
    }
  };
  for (int i = 0; i < 20000; ++i) {
    const uint64_t ram = any();
    Json vm = VmWith(ram, any(), any(), any());
    vm["disk_bytes"] = any();
    if (random() % 4 == 0) vm["state"] = "detached";
    ASSERT_EQ(SumOf(PlacesOf(vm)), ram) << vm.dump();
  }
  for (const char* text : {"{}", "[]", "7", "null", "{\"ram_bytes\":-1}",
                           "{\"ram_bytes\":\"1\",\"resident_bytes\":5}"}) {
    EXPECT_EQ(SumOf(PlacesOf(Json::parse(text))), 0u) << text;
  }
  EXPECT_EQ(SumOf(PlacesOf(Json::parse(
                R"({"ram_bytes":8192,"resident_bytes":-1,"swapped_bytes":1.5,"state":7})"))),
            8192u);
}

class MetricsTest : public EbbctlTest {
 protected:
  std::string Text() { return MetricsText(ToJson(host_.Status()), Vms(), Tiers()); }
  Json Tiers() {
    Json tiers = Json::array();
    for (const TierStatus& tier : host_.Tiers()) tiers.push_back(ToJson(tier));
    return {{"tiers", tiers}};
  }
  Json Vms() {
    Json vms = Json::array();
    for (const VmStatus& vm : host_.Vms()) vms.push_back(ToJson(vm));
    return {{"vms", vms}};
  }
};

TEST_F(MetricsTest, ShowTheHostAndEachVm) {
  const std::string text = Text();
  for (const char* line :
       {"ebb_build_info{version=\"0.1.0\"} 1\n", "ebb_up_since_timestamp_seconds 1769900000.250\n",
        "ebb_host_state{state=\"running\"} 1\n", "ebb_vms{state=\"running\"} 1\n",
        "ebb_vms{state=\"held\"} 0\n", "ebb_detached_vms_total 1\n",
        "ebb_vm_info{domain=\"web\",barrier=\"qmp\"} 1\n",
        "ebb_vm_configured_bytes{domain=\"web\"} 1073741824\n",
        "ebb_vm_memory_bytes{domain=\"web\",where=\"resident\"} 267386880\n",
        "ebb_vm_memory_bytes{domain=\"web\",where=\"unmanaged\"} 0\n",
        "ebb_vm_limit_bytes{domain=\"web\"} 268435456\n", "ebb_vm_held{domain=\"web\"} 0\n",
        "ebb_vm_faults_total{domain=\"web\"} 700000\n",
        "ebb_vm_paced_seconds_total{domain=\"web\"} 0.012000000\n",
        "ebb_vm_swapped_out_bytes_total{domain=\"web\"} 5056786432\n",
        "ebb_vm_bookkeeping_bytes{domain=\"web\",kind=\"records\"} 3145728\n",
        "ebb_vm_swap_in_duration_seconds{domain=\"web\",percentile=\"99\"} 0.000092250\n",
        "ebb_vm_barrier_duration_seconds{domain=\"web\",percentile=\"50\"} 0.001250000\n",
        "ebb_vm_barrier_interval_seconds{domain=\"web\"} 10.000000000\n"}) {
    ExpectContains("\n" + text, std::string("\n") + line);
  }
}

TEST_F(MetricsTest, TiersShow) {
  std::string text = Text();
  ExpectContains(text, "ebb_tier_original_bytes{tier=\"pool\"} 713031680\n");
  ExpectContains(text, "ebb_tier_max_bytes{tier=\"pool\"} 536870912\n");
  EXPECT_EQ(text.find("{tier=\"disk\""), std::string::npos);
  TierStatus disk = FakeHost::SomeDisk();
  disk.state = "stalled";
  host_.SetDisk(disk);
  host_.Add(FakeHost::SomeVmOnDisk("web"));
  text = Text();
  for (const char* line : {"ebb_tier_used_bytes{tier=\"pool\"} 178257920\n",
                           "ebb_tier_original_bytes{tier=\"disk\"} 367001600\n",
                           "ebb_tier_used_bytes{tier=\"disk\"} 188743680\n",
                           "ebb_tier_taken_bytes{tier=\"disk\"} 209715200\n",
                           "ebb_tier_max_bytes{tier=\"disk\"} 1073741824\n",
                           "ebb_tier_state{tier=\"disk\",state=\"ok\"} 0\n",
                           "ebb_tier_state{tier=\"disk\",state=\"stalled\"} 1\n",
                           "ebb_tier_reads_total{tier=\"disk\"} 12345\n",
                           "ebb_tier_failed_reads_total{tier=\"disk\"} 2\n",
                           "ebb_tier_written_bytes_total{tier=\"disk\"} 222498816\n",
                           "ebb_tier_failed_writes_total{tier=\"disk\"} 3\n",
                           "ebb_vm_memory_bytes{domain=\"web\",where=\"disk\"} 367001600\n",
                           "ebb_vm_disk_used_bytes{domain=\"web\"} 188743680\n",
                           "ebb_vm_written_back_bytes_total{domain=\"web\"} 409600000\n",
                           "ebb_vm_read_ahead_bytes_total{domain=\"web\"} 16384000\n"}) {
    ExpectContains("\n" + text, std::string("\n") + line);
  }
}

TEST_F(MetricsTest, AHeldVmShows) {
  VmStatus vm = FakeHost::SomeVm("web");
  vm.state = "held";
  vm.held_pages = 3;
  host_.Add(vm);
  const std::string text = Text();
  ExpectContains(text, "ebb_vm_held{domain=\"web\"} 1\n");
  ExpectContains(text, "ebb_vm_held_pages{domain=\"web\"} 3\n");
  ExpectContains(text, "ebb_vms{state=\"held\"} 1\n");
}

TEST_F(MetricsTest, ADetachedVmHasNoFiguresButItsSize) {
  VmStatus vm;
  vm.name = "away";
  vm.state = "detached";
  vm.ram_bytes = 512 * kMiB;
  host_.Add(vm);
  std::set<std::string> names;
  const std::string text = Text();
  for (size_t at = 0; (at = text.find("{domain=\"away\"", at)) != std::string::npos; ++at) {
    const size_t line = text.rfind('\n', at) + 1;
    names.insert(text.substr(line, at - line));
  }
  EXPECT_EQ(names, (std::set<std::string>{"ebb_vm_configured_bytes", "ebb_vm_memory_bytes",
                                          "ebb_vm_held", "ebb_vm_held_pages"}));
  ExpectContains(text, "{domain=\"away\",where=\"unmanaged\"} 536870912\n");
}

TEST_F(MetricsTest, WhatIsNotThereHasNoSample) {
  VmStatus vm = FakeHost::SomeVm("web");
  vm.limit_bytes = 0;
  vm.fault_p50_us = vm.fault_p99_us = vm.barrier_p50_ms = vm.barrier_p99_ms = 0;
  host_.Add(vm);
  const std::string text = Text();
  EXPECT_EQ(text.find("ebb_vm_limit_bytes{"), std::string::npos);
  EXPECT_EQ(text.find("percentile"), std::string::npos);
}

TEST_F(MetricsTest, NamesAreQuotedAndKeepToTheirLine) {
  VmStatus vm = FakeHost::SomeVm("a\"b\\c\nd");
  host_.Add(vm);
  // The line end became a ? already: what is printed is printable.
  ExpectContains(Text(), "ebb_vm_held{domain=\"a\\\"b\\\\c?d\"} 0\n");
}

TEST_F(MetricsTest, AVmHasFewSeries) {
  std::map<std::string, int> series;
  const std::string text = Text();
  for (size_t at = 0; (at = text.find("{domain=\"web\"", at)) != std::string::npos; ++at) {
    ++series["web"];
  }
  EXPECT_GT(series["web"], 20);
  EXPECT_LE(series["web"], 44) << "200 VMs are scraped every 15 s";
}

TEST_F(MetricsTest, ArePrintedOrWrittenToAFile) {
  const Result printed = Run({"metrics"});
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_EQ(printed.out, Text());
  const std::string file = dir_ + "/ebb.prom";
  const Result written = Run({"metrics", "--output", file});
  EXPECT_EQ(written.exit_code, 0) << written.err;
  EXPECT_EQ(written.out, "");
  EXPECT_EQ(ContentOf(file), Text());
  // Unchanged where there is nothing to say: its age tells.
  server_.reset();
  EXPECT_EQ(Run({"metrics", "--output", file}).exit_code, 3);
  EXPECT_EQ(ContentOf(file).substr(0, 6), "# HELP");
  EXPECT_EQ(unlink(file.c_str()), 0);
}

TEST_F(MetricsTest, AFileThatCannotBeWrittenIsAFailure) {
  const Result result = Run({"metrics", "--output", "/nonexistent/ebb.prom"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  ExpectContains(result.err, "cannot write /nonexistent/ebb.prom: No such file or directory");
}

}  // namespace
}  // namespace ebb
