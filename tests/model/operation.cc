// SPDX-License-Identifier: MIT
#include "tests/model/operation.h"

#include <array>
#include <random>

#include "absl/strings/str_format.h"

namespace ebb::model {
namespace {

struct Frequency {
  Operation::Kind kind;
  const char* name;
  uint32_t share;
  uint32_t values;  // `value` is below this
};

using enum Operation::Kind;
constexpr std::array<Frequency, Operation::kKinds> kFrequencies = {{
    {kWrite, "kWrite", 25, UINT32_MAX},
    {kRead, "kRead", 16, 1},
    {kGuard, "kGuard", 20, 16},
    {kStore, "kStore", 20, 1},
    {kDrop, "kDrop", 20, 1},
    {kGiveBack, "kGiveBack", 2, 1},
    {kDiscard, "kDiscard", 5, 4},
    {kReap, "kReap", 8, 1},
    {kCompact, "kCompact", 12, 1},
    {kRefuseFills, "kRefuseFills", 3, 4},
    {kFillHost, "kFillHost", 2, 2},
    {kSpoil, "kSpoil", 8, UINT32_MAX},
    {kHeal, "kHeal", 2, 1},
    {kWriteBack, "kWriteBack", 3, 64},
    {kDiskAnswers, "kDiskAnswers", 12, 8},
    {kFailReads, "kFailReads", 2, 3},
    {kFailWrites, "kFailWrites", 1, 3},
}};

const Frequency& Draw(std::mt19937_64* random) {
  uint32_t all = 0;
  for (const Frequency& each : kFrequencies) all += each.share;
  auto at = static_cast<uint32_t>((*random)() % all);
  for (const Frequency& each : kFrequencies) {
    if (at < each.share) return each;
    at -= each.share;
  }
  return kFrequencies[0];
}

}  // namespace

std::vector<Operation> RandomOperations(uint64_t seed, size_t count, uint32_t pages) {
  std::mt19937_64 random(seed);
  std::vector<Operation> operations;
  while (operations.size() < count) {
    const Frequency& drawn = Draw(&random);
    operations.push_back({drawn.kind, static_cast<uint32_t>(random() % pages),
                          static_cast<uint32_t>(random() % drawn.values)});
  }
  return operations;
}

std::string Describe(std::span<const Operation> operations) {
  std::string lines;
  for (const Operation& operation : operations) {
    const Frequency& kind = kFrequencies[static_cast<size_t>(operation.kind)];
    absl::StrAppendFormat(&lines, "{Operation::Kind::%s, %d, %d},\n", kind.name, operation.page,
                          operation.value);
  }
  return lines;
}

}  // namespace ebb::model
