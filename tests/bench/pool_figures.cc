// SPDX-License-Identifier: MIT
#include "tests/bench/pool_figures.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "hostd/base/status_macros.h"
#include "tests/bench/figure.h"
#include "tests/bench/swapped_guest.h"

namespace ebb::bench {
namespace {

using Random = std::mt19937_64;

// What a guest's memory consists of before its load changes, and afterwards: what LZ4 compresses to
// about 1.6 : 1, and then to 2.7 : 1. The letters are those of tests/bench/page_data.py.
constexpr char kKindsBefore[] = "lc";  // shared libraries, C++ heap
constexpr char kKindsAfter[] = "tp";   // text, Python heap

// The pool's memory beyond what the objects in it take.
double Overhead(SwappedGuest* guest) {
  uint64_t object_bytes = 0;
  for (PageIndex page; page.value < guest->pages(); ++page.value) {
    if (guest->IsSwapped(page)) object_bytes += guest->ObjectBytes(page);
  }
  const auto pool_bytes = static_cast<double>(guest->MemoryNow().pool_bytes);
  return pool_bytes / static_cast<double>(object_bytes) - 1;
}

void Fill(SwappedGuest* guest, const std::vector<uint32_t>& contents) {
  std::array<uint32_t, SwappedGuest::kBatchPages> batch;
  for (uint64_t first = 0; first < guest->pages(); first += batch.size()) {
    const uint64_t count = std::min<uint64_t>(batch.size(), guest->pages() - first);
    for (uint64_t i = 0; i < count; ++i) batch[i] = contents[(first + i) % contents.size()];
    guest->SwapOut({first}, {batch.data(), count});
  }
  guest->Settle();
}

// Gives `changes` pages, any of them, other content: they come in and go out again.
void Change(SwappedGuest* guest, uint64_t changes, const std::vector<uint32_t>& contents,
            Random* random) {
  for (uint64_t i = 0; i < changes; ++i) {
    const PageIndex page = {(*random)() % guest->pages()};
    guest->BringBack(page);
    const uint32_t content = contents[(*random)() % contents.size()];
    guest->SwapOut(page, {&content, 1});
    if (i % SwappedGuest::kBatchPages == 0) guest->Settle();
  }
  guest->Settle();
}

void BringBackHalf(SwappedGuest* guest, Random* random) {
  std::vector<uint64_t> pages(guest->pages());
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), *random);
  pages.resize(pages.size() / 2);
  for (const uint64_t page : pages) {
    guest->BringBack({page});
    if (page % SwappedGuest::kBatchPages == 0) guest->Settle();
  }
  guest->Settle();
}

// Of the data's pages: how many need no storage, how many are not stored at all, and of the others
// how many have an object of up to 512 bytes, of up to 1024, and so on.
void SayObjectSizes(SwappedGuest* guest, uint64_t data_pages) {
  constexpr uint32_t kBinBytes = 512;
  std::vector<uint64_t> bins(kPageBytes / kBinBytes);
  std::vector<uint64_t> sizes;
  uint64_t no_storage = 0;
  uint64_t not_stored = 0;
  for (PageIndex page; page.value < std::min(data_pages, guest->pages()); ++page.value) {
    if (!guest->IsSwapped(page)) {
      ++not_stored;
    } else if (const uint32_t bytes = guest->ObjectBytes(page); bytes == 0) {
      ++no_storage;
    } else {
      ++bins[(bytes - 1) / kBinBytes];
      sizes.push_back(bytes);
    }
  }
  std::sort(sizes.begin(), sizes.end());
  SayCounts("no_storage", {no_storage});
  SayCounts("not_stored", {not_stored});
  SayCounts("sizes", bins);
  if (!sizes.empty()) SayCounts("median", {sizes[sizes.size() / 2]});
}

}  // namespace

absl::Status MeasureFilledPool(const PageData& data, uint64_t pages,
                               const std::string& stored_path) {
  std::vector<uint32_t> contents(data.pages());
  std::iota(contents.begin(), contents.end(), 0);
  SayProgress("swapping a guest out");
  EBB_ASSIGN_OR_RETURN(const std::unique_ptr<SwappedGuest> guest,
                       SwappedGuest::Create(&data, pages));
  Fill(guest.get(), contents);
  // Before anything else allocates.
  const SwappedGuest::Memory memory = guest->MemoryNow();

  uint64_t stored = 0;
  std::ofstream stored_file(stored_path);
  for (PageIndex page; page.value < pages; ++page.value) {
    if (!guest->IsSwapped(page)) continue;
    stored_file << page.value << '\n';
    ++stored;
  }
  stored_file.close();
  if (!stored_file) return absl::UnavailableError("cannot write " + stored_path);
  if (stored == 0) return absl::ResourceExhaustedError("not one page could be swapped out");

  const auto per_page = [&](uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(stored);
  };
  SayFigure("pool_overhead_ratio", Overhead(guest.get()), "ratio");
  SayFigure("pool_bytes_vs_zram", per_page(memory.pool_bytes + memory.metadata_bytes()),
            "bytes/page");
  SayFigure("metadata_bytes_per_page", per_page(memory.metadata_bytes()), "bytes/page");
  SayFigure("page_table_bytes_per_page", per_page(memory.page_table_bytes), "bytes/page");
  SayObjectSizes(guest.get(), data.pages());
  return absl::OkStatus();
}

absl::Status MeasureChangedPool(const PageData& data, uint64_t pages, uint64_t seed) {
  const std::vector<uint32_t> before = data.PagesOf(kKindsBefore);
  const std::vector<uint32_t> after = data.PagesOf(kKindsAfter);
  if (before.empty() || after.empty()) {
    return absl::InvalidArgumentError("the data lacks a kind of page that is to be swapped out");
  }
  Random random(seed);
  SayProgress("changing what the pool holds");
  EBB_ASSIGN_OR_RETURN(const std::unique_ptr<SwappedGuest> guest,
                       SwappedGuest::Create(&data, pages));
  Fill(guest.get(), before);
  Change(guest.get(), 2 * pages, before, &random);
  SayFigure("pool_overhead_churned_ratio", Overhead(guest.get()), "ratio");
  Change(guest.get(), pages, after, &random);
  SayFigure("pool_overhead_shifted_ratio", Overhead(guest.get()), "ratio");
  BringBackHalf(guest.get(), &random);
  SayFigure("pool_overhead_halved_ratio", Overhead(guest.get()), "ratio");
  return absl::OkStatus();
}

}  // namespace ebb::bench
