// SPDX-License-Identifier: MIT
#include "tests/explorer/yielding_memory.h"

#include <xxhash.h>

#include "tests/explorer/actor.h"

namespace ebb::explorer {
namespace {

void See(const void* data, size_t bytes) {
  EbbdThread::Current()->See(Seen::Value(XXH3_64bits(data, bytes)));
}

// Makes the call as one step, and has the thread see its result.
template <typename Call>
auto Step(const char* what, Call call) {
  EbbdThread::Current()->Touch(what);
  const auto result = [&] {
    const EbbdThread::InKernel in_kernel;
    return call();
  }();
  See(&result, sizeof result);
  return result;
}

}  // namespace

OsResult YieldingMemory::Unprotect(PageIndex page) {
  return Step("Unprotect", [&] { return kernel_->Unprotect(page); });
}

OsResult YieldingMemory::Fill(PageIndex page, const std::byte* content) {
  return Step("Fill", [&] { return kernel_->Fill(page, content); });
}

OsResult YieldingMemory::FillZero(PageRange run, uint64_t* filled_pages) {
  const OsResult result = Step("FillZero", [&] { return kernel_->FillZero(run, filled_pages); });
  See(filled_pages, sizeof *filled_pages);
  return result;
}

// Not all of a run at once: the kernel goes from page to page.
OsResult YieldingMemory::WriteProtect(PageRange run) {
  for (uint64_t i = 0; i < run.count; ++i) {
    const OsResult result = Step("WriteProtect", [&] {
      return kernel_->WriteProtect({run.first + i, 1});
    });
    if (result != OsResult::kDone) return result;
  }
  return OsResult::kDone;
}

OsResult YieldingMemory::Wake(PageRange run) {
  return Step("Wake", [&] { return kernel_->Wake(run); });
}

OsResult YieldingMemory::ZapPtes(PageRange run) {
  return Step("ZapPtes", [&] { return kernel_->ZapPtes(run); });
}

OsResult YieldingMemory::ReadPtes(PageRange run, std::span<PteState> states) {
  for (uint64_t i = 0; i < run.count; ++i) {
    const OsResult result = Step("ReadPtes", [&] {
      return kernel_->ReadPtes({run.first + i, 1}, states.subspan(i, 1));
    });
    if (result != OsResult::kDone) return result;
    See(&states[i], sizeof states[i]);
  }
  return OsResult::kDone;
}

OsResult YieldingMemory::Read(PageIndex page, std::byte* content) {
  const OsResult result = Step("Read", [&] { return kernel_->Read(page, content); });
  See(content, kPageBytes);
  return result;
}

OsResult YieldingMemory::Punch(PageRange run) {
  for (uint64_t i = 0; i < run.count; ++i) {
    const OsResult result = Step("Punch", [&] { return kernel_->Punch({run.first + i, 1}); });
    if (result != OsResult::kDone) return result;
  }
  // That it has taken effect is known once it has returned.
  EbbdThread::Current()->Touch("Punch returns");
  return OsResult::kDone;
}

// No step of its own, which would double the states: to reclaim it is a hint at which page to try,
// and swap-in asks right after it has read a page that is its own, where a hole stays a hole.
PageRange YieldingMemory::NextPresent(PageRange range) {
  const PageRange present = [&] {
    const EbbdThread::InKernel in_kernel;
    return kernel_->NextPresent(range);
  }();
  See(&present, sizeof present);
  return present;
}

OsResult YieldingMemory::ReadMessages(std::span<GuestMessage> messages, size_t* count) {
  const OsResult result =
      Step("ReadMessages", [&] { return kernel_->ReadMessages(messages, count); });
  for (size_t i = 0; i < *count; ++i) {
    See(&messages[i].kind, sizeof messages[i].kind);
    See(&messages[i].range, sizeof messages[i].range);
  }
  return result;
}

}  // namespace ebb::explorer
