// SPDX-License-Identifier: MIT
// Packets on the hand-over socket: the first byte is how many descriptors come along, the rest the
// packet. What is taken for a hello goes on to the checks of the RAM it claims.
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "hostd/base/check.h"
#include "hostd/peers/qemu/qemu_session.h"

namespace ebb {
namespace {

constexpr uint64_t kMemfdBytes = 64 * kMiB;

// Pages and addresses must be each other's inverse, or a page would be put in another's place.
void CheckLayout(const RamLayout& layout) {
  EBB_CHECK(layout.pages() > 0, "RAM without pages");
  for (const uint64_t page : {uint64_t{0}, layout.pages() / 2, layout.pages() - 1}) {
    const RamLayout::Place place = layout.Find({page});
    EBB_CHECK(place.page_in_mapping < place.mapping->pages, "page past its mapping");
    EBB_CHECK(place.file_offset() + kPageBytes <= kMemfdBytes, "page past its file");
    EBB_CHECK(layout.PageAt(place.hva()) == PageIndex{page}, "page at another's address");
    EBB_CHECK(layout.FirstRun({{page}, layout.pages() - page}).count <= place.pages_left(),
              "run past its mapping");
  }
}

void CheckClaims(const wire::Hello& hello) {
  std::vector<MemfdInfo> memfds;
  VmRam ram;
  for (uint32_t i = 0; i < hello.memfd_count; ++i) {
    memfds.push_back({{1, i + 1}, kMemfdBytes, kPageBytes});
    ram.files.push_back(memfds.back().file);
  }
  auto layout = LayOutRam(BlocksOf(hello), memfds);
  if (!layout.ok()) return;
  CheckLayout(*layout);
  ram.layout = *std::move(layout);
  ProcessView view;
  view.command_line = {"qemu"};
  // Nothing is mapped: whatever is claimed is not so.
  EBB_CHECK(!CheckProcess(1, ram, view, {}).ok(), "RAM that is not mapped was allowed");
  for (const RamMapping& mapping : ram.layout.mappings()) {
    Vma vma;
    vma.start = mapping.hva;
    vma.end = {mapping.hva.value + PagesToBytes(mapping.pages)};
    vma.file_offset = mapping.file_offset;
    vma.file = ram.files[mapping.memfd];
    vma.shared = vma.writable = true;
    view.memory_map.push_back(vma);
  }
  EBB_CHECK(CheckProcess(1, ram, view, {}).ok(), "RAM that is mapped as claimed was refused");
}

void Run(std::span<const uint8_t> input) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return;
  const UniqueFd library(sockets[1]);
  QemuSession session(UniqueFd(sockets[0]), PeerCredentials{1, 0}, 0);
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  const std::vector<int> fds(input[0] % 32, event.get());
  const auto packet = input.subspan(1);
  if (!SendPacket(library.get(), std::as_bytes(packet), fds).ok()) return;
  absl::Status error;
  if (session.Receive(&error) != OsResult::kDone) return;
  wire::Hello hello;
  EBB_CHECK(packet.size() == sizeof hello, "a hello of another size");
  EBB_CHECK(!session.vm_name().empty(), "a VM without a name");
  std::memcpy(&hello, packet.data(), sizeof hello);
  CheckClaims(hello);
}

}  // namespace
}  // namespace ebb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  if (bytes >= 2) ebb::Run({data, bytes});
  return 0;
}
