// SPDX-License-Identifier: MIT
#include "hostd/base/event_log.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "hostd/base/wall_time.h"

namespace ebb {
namespace {

class EventLogTest : public testing::Test {
 protected:
  void AddMany(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      log_.Add(EventKind::kSwapInAsked, "web", "number " + std::to_string(++added_));
    }
  }

  EventLog log_;
  size_t added_ = 0;
};

TEST_F(EventLogTest, EventsAreNumberedFrom1AndKnowTheirTime) {
  const int64_t before_ms = WallTimeMs();
  log_.Add(EventKind::kVmAttached, "web", "web was attached");
  log_.Add(EventKind::kStopRefused, "", "no room");
  const EventBatch batch = log_.After(0);
  ASSERT_EQ(batch.events.size(), 2u);
  EXPECT_EQ(batch.events[0].seq, 1u);
  EXPECT_EQ(batch.events[0].kind, EventKind::kVmAttached);
  EXPECT_EQ(batch.events[0].vm, "web");
  EXPECT_EQ(batch.events[0].message, "web was attached");
  EXPECT_GE(batch.events[0].time_ms, before_ms);
  EXPECT_LE(batch.events[0].time_ms, WallTimeMs());
  EXPECT_EQ(batch.events[1].seq, 2u);
  EXPECT_EQ(batch.events[1].vm, "");
  EXPECT_EQ(batch.next, 2u);
  EXPECT_EQ(batch.lost, 0u);
}

TEST_F(EventLogTest, WhoHasSeenAllGetsNothingUntilThereIsMore) {
  EXPECT_EQ(log_.After(0).next, 0u);
  EXPECT_TRUE(log_.After(0).events.empty());
  AddMany(3);
  EXPECT_TRUE(log_.After(3).events.empty());
  EXPECT_EQ(log_.After(3).next, 3u);
  AddMany(1);
  ASSERT_EQ(log_.After(3).events.size(), 1u);
  EXPECT_EQ(log_.After(3).events[0].message, "number 4");
}

TEST_F(EventLogTest, WhoAsksAnotherEbbdIsTold) {
  AddMany(3);
  for (const uint64_t seq : {uint64_t{4}, uint64_t{500}, UINT64_MAX}) {
    EXPECT_TRUE(log_.After(seq).events.empty());
    EXPECT_EQ(log_.After(seq).next, 3u);
    EXPECT_EQ(log_.After(seq).lost, 0u);
  }
}

TEST_F(EventLogTest, ALongListComesInBatchesWithoutGaps) {
  AddMany(600);
  std::vector<std::string> messages;
  uint64_t next = 0;
  int batches = 0;
  while (true) {
    const EventBatch batch = log_.After(next);
    if (batch.events.empty()) break;
    EXPECT_LE(batch.events.size(), EventLog::kMaxBatch);
    for (const Event& event : batch.events) messages.push_back(event.message);
    next = batch.next;
    ++batches;
  }
  EXPECT_EQ(batches, 3);
  ASSERT_EQ(messages.size(), 600u);
  EXPECT_EQ(messages.front(), "number 1");
  EXPECT_EQ(messages.back(), "number 600");
}

TEST_F(EventLogTest, TheOldestAreOverwrittenAndCounted) {
  AddMany(EventLog::kKept + 10);
  EXPECT_EQ(log_.After(0).lost, 10u);
  EXPECT_EQ(log_.After(0).events[0].seq, 11u);
  EXPECT_EQ(log_.After(7).lost, 3u);
  EXPECT_EQ(log_.After(10).lost, 0u);
  EXPECT_EQ(log_.After(10).events[0].seq, 11u);
  EXPECT_EQ(log_.After(11).events[0].seq, 12u);
  EXPECT_EQ(log_.After(EventLog::kKept + 9).events.size(), 1u);
}

TEST_F(EventLogTest, TextOfStrangersIsPrintableAndShort) {
  log_.Add(EventKind::kAttachRefused, "a\nb\x1b[31m", "x\r\n\x7f \xc2\x9b \xc3\xa9 \xc2\xa0");
  const Event event = log_.After(0).events[0];
  EXPECT_EQ(event.vm, "a?b?[31m");
  EXPECT_EQ(event.message, "x??? ? \xc3\xa9 \xc2\xa0");
  log_.Add(EventKind::kAttachRefused, "", std::string(100000, 'x'));
  EXPECT_LT(log_.After(1).events[0].message.size(), EventLog::kMaxMessageBytes + 10);
}

TEST(EventKind, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  int kinds = 0;
  while (EventKindName(static_cast<EventKind>(kinds)) != std::string("?")) {
    const std::string name = EventKindName(static_cast<EventKind>(kinds++));
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
    names.insert(name);
  }
  EXPECT_EQ(kinds, static_cast<int>(EventKind::kStopRefused) + 1);
  EXPECT_EQ(names.size(), static_cast<size_t>(kinds));
}

TEST_F(EventLogTest, TakesEventsFromManyThreadsInOneOrder) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (int j = 0; j < 200; ++j) log_.Add(EventKind::kVmHeld, "web", "held");
    });
  }
  uint64_t next = 0;
  while (next < 800) {
    const EventBatch batch = log_.After(next);
    EXPECT_EQ(batch.lost, 0u);
    for (const Event& event : batch.events) EXPECT_EQ(event.seq, ++next);
  }
}

}  // namespace
}  // namespace ebb
