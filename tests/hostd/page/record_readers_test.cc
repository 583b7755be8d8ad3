// SPDX-License-Identifier: MIT
#include "hostd/page/record_readers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <optional>
#include <thread>
#include <vector>

namespace ebb {
namespace {

using Reading = RecordReaders::Reading;

TEST(RecordReaders, WhoReadsHoldsTheMoverUpUntilItEnds) {
  RecordReaders readers;
  RecordReaders::Reader reader(&readers);
  RecordReaders::Sight seen;
  {
    const Reading reading(&reader);
    seen = readers.Look();
    EXPECT_FALSE(readers.HaveEnded(seen));
  }
  EXPECT_TRUE(readers.HaveEnded(seen));
}

TEST(RecordReaders, WhoBeganAfterTheMoverLookedHoldsNobodyUp) {
  RecordReaders readers;
  RecordReaders::Reader early(&readers);
  RecordReaders::Reader late(&readers);
  std::optional<Reading> reading(&early);
  const RecordReaders::Sight seen = readers.Look();
  const Reading other(&late);
  EXPECT_FALSE(readers.HaveEnded(seen));
  reading.reset();
  const Reading again(&early);
  EXPECT_TRUE(readers.HaveEnded(seen)) << "it found the new place";
}

TEST(RecordReaders, NobodyReadsAtFirst) {
  const RecordReaders readers;
  EXPECT_TRUE(readers.HaveEnded(readers.Look()));
}

TEST(RecordReaders, PlacesAreTakenAgain) {
  RecordReaders readers;
  for (size_t i = 0; i < 3 * RecordReaders::kMaxReaders; ++i) RecordReaders::Reader{&readers};
}

TEST(RecordReadersDeathTest, OneReaderTooManyEndsTheDaemon) {
  RecordReaders readers;
  std::list<RecordReaders::Reader> all;
  for (size_t i = 0; i < RecordReaders::kMaxReaders; ++i) all.emplace_back(&readers);
  EXPECT_DEATH(all.emplace_back(&readers), "more threads");
}

// The mover moves a value to and fro between places, and spoils the one it left as soon as it may.
// A reader never sees a spoilt one; under TSan, no two of them touch a place at once.
TEST(RecordReadersRace, WhatIsReadIsNotReusedMeanwhile) {
  constexpr int kMoves = 20000;
  constexpr int kReaders = 2;
  constexpr uint64_t kRight = 0x600d;
  RecordReaders readers;
  std::vector<uint64_t> places = {kRight, 0};
  std::atomic<size_t> record{0};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::list<RecordReaders::Reader> each;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&, reader = &each.emplace_back(&readers)] {
      while (!stop.load()) {
        const Reading reading(reader);
        if (places[record.load(std::memory_order_seq_cst)] != kRight) wrong.fetch_add(1);
      }
    });
  }
  for (int move = 0; move < kMoves; ++move) {
    const size_t from = record.load();
    places[1 - from] = kRight;
    record.store(1 - from, std::memory_order_seq_cst);
    const RecordReaders::Sight seen = readers.Look();
    while (!readers.HaveEnded(seen)) std::this_thread::yield();
    places[from] = 0xdead;
  }
  stop.store(true);
  threads.clear();
  EXPECT_EQ(wrong.load(), 0u);
}

}  // namespace
}  // namespace ebb
