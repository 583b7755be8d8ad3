// SPDX-License-Identifier: MIT
#include "hostd/vm/open_reports.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_io_barrier.h"
#include "tests/hostd/vm/running_vm.h"

namespace ebb {
namespace {

constexpr FileId kRamFile = {1, 100};
constexpr int64_t kNow = 5000 * kNsPerS;

class OpenReportsTest : public testing::Test {
 protected:
  void SetUp() override {
    Vm::Parts parts;
    parts.name = "alpha";
    parts.pid = getpid();
    parts.ram.files = {{1, 99}, kRamFile};
    parts.memory = std::make_unique<FakeGuestMemory>(16);
    parts.barrier = std::make_unique<FakeIoBarrier>();
    registry_.Add(*Vm::Start(std::move(parts)));
    seen_ = registry_.EventsAfter(0).next;
  }
  // The events that these make.
  std::vector<Event> Say(const std::vector<OpenGuard::Refusal>& refusals, uint64_t others = 0,
                         int64_t now_ns = kNow) {
    reports_.Say({refusals, others}, now_ns);
    const EventBatch batch = registry_.EventsAfter(seen_);
    seen_ = batch.next;
    return batch.events;
  }
  static bool Has(const Event& event, const std::string& part) {
    return event.message.find(part) != std::string::npos;
  }

  Registry registry_{"test", MonotonicNs()};
  OpenReports reports_{&registry_};
  uint64_t seen_ = 0;
};

TEST_F(OpenReportsTest, NothingRefusedIsNothingSaid) { EXPECT_TRUE(Say({}).empty()); }

TEST_F(OpenReportsTest, ProcessAndVmAreNamedAndWhatToDo) {
  const auto events = Say({{kRamFile, 4711, "qemu-system-x86"}});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, EventKind::kOpenRefused);
  EXPECT_EQ(events[0].vm, "alpha");
  EXPECT_TRUE(Has(events[0], "process 4711 (qemu-system-x86) may not open")) << events[0].message;
  EXPECT_TRUE(Has(events[0], "ebbctl detach alpha")) << events[0].message;
}

TEST_F(OpenReportsTest, ProcessWithoutANameAndMemoryOfNoVmAreSaid) {
  const auto events = Say({{{1, 101}, 4711, ""}});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].vm, "");
  EXPECT_TRUE(Has(events[0], "process 4711 may not open")) << events[0].message;
}

TEST_F(OpenReportsTest, WhoOpensWithoutEndDoesNotFillTheLog) {
  const std::vector<OpenGuard::Refusal> many(OpenReports::kLinesPerMinute + 5,
                                             {kRamFile, 4711, "thief"});
  EXPECT_EQ(Say(many, 1000).size(), static_cast<size_t>(OpenReports::kLinesPerMinute));
  EXPECT_TRUE(Say(many, 0, kNow + 59 * kNsPerS).empty());
  const auto later = Say({{kRamFile, 4711, "thief"}}, 0, kNow + 60 * kNsPerS);
  ASSERT_EQ(later.size(), 1u);
  EXPECT_TRUE(Has(later[0], "and 20 more refusals")) << later[0].message;
}

TEST_F(OpenReportsTest, RefusalsThatWereNotKeptAreCounted) {
  const auto events = Say({{kRamFile, 4711, "thief"}}, 84);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_TRUE(Has(events[0], "and 84 more refusals")) << events[0].message;
}

}  // namespace
}  // namespace ebb
