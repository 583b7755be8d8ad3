// SPDX-License-Identifier: MIT
#include "hostd/vm/attach_check.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"
#include "hostd/os/descriptor.h"
#include "hostd/os/process.h"

namespace ebb {
namespace {

absl::Status Refused(const std::string& reason) { return absl::FailedPreconditionError(reason); }

absl::StatusOr<std::vector<MemfdInfo>> InspectAll(const std::vector<UniqueFd>& memfds) {
  std::vector<MemfdInfo> infos;
  for (const UniqueFd& memfd : memfds) {
    EBB_ASSIGN_OR_RETURN(const MemfdInfo info, InspectMemfd(memfd.get()));
    if (info.page_bytes != kPageBytes) {
      return Refused("guest RAM uses huge pages (hugetlb); use 4 KiB pages for this VM");
    }
    infos.push_back(info);
  }
  return infos;
}

// Whether the process maps the whole block from that file, shared and writable.
bool IsMapped(const std::vector<Vma>& vmas, const ClaimedRamBlock& block, uint64_t inode) {
  uint64_t at = block.hva;
  const uint64_t end = block.hva + block.bytes;
  for (const Vma& vma : vmas) {
    if (vma.start.value > at || vma.end.value <= at) continue;
    if (!vma.shared || !vma.writable || vma.inode != inode) return false;
    if (vma.file_offset + (at - vma.start.value) != block.file_offset + (at - block.hva)) {
      return false;
    }
    at = std::min(vma.end.value, end);
    if (at == end) return true;
  }
  return false;
}

absl::Status CheckBlock(const ClaimedRamBlock& block, const std::vector<MemfdInfo>& infos) {
  const uint64_t unaligned = (block.hva | block.bytes | block.file_offset) % kPageBytes;
  if (unaligned != 0 || block.bytes == 0 || block.memfd >= infos.size() ||
      block.hva + block.bytes < block.hva || block.file_offset + block.bytes < block.file_offset ||
      block.file_offset + block.bytes > infos[block.memfd].bytes) {
    return absl::InvalidArgumentError("a RAM block is malformed");
  }
  return absl::OkStatus();
}

bool Overlap(const ClaimedRamBlock& a, const ClaimedRamBlock& b) {
  return a.hva < b.hva + b.bytes && b.hva < a.hva + a.bytes;
}

absl::Status CheckOpenFiles(int pid) {
  struct Device {
    const char* prefix;
    const char* why;
  };
  // Each pins guest RAM for long or hides it, out of reach of write-protection and barriers.
  constexpr Device kDevices[] = {
      {"/dev/vfio", "a passed-through device (VFIO) pins its memory"},
      {"/dev/vhost-vdpa", "a vDPA device pins its memory"},
      {"/dev/vhost-scsi", "vhost-scsi writes to its memory unseen"},
      {"/dev/udmabuf", "virtio-gpu blob resources (udmabuf) pin its memory"},
      {"/dev/sev", "its memory is encrypted (SEV)"},
  };
  for (const std::string& file : OpenFiles(pid)) {
    for (const Device& device : kDevices) {
      if (absl::StartsWith(file, device.prefix)) {
        return Refused(absl::StrFormat("%s (open: %s)", device.why, file));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPinned(int pid) {
  for (const char* field : {"VmPin", "VmLck"}) {
    const uint64_t bytes = StatusBytes(pid, field).value_or(0);
    if (bytes != 0) {
      return Refused(absl::StrFormat(
          "QEMU has %d KiB of memory locked or pinned (%s); remove <locked/> or mem-lock=on",
          bytes / 1024, field));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKernelSwap(int pid) {
  // With kernel swap, cooling a page would write it to the kernel's swap instead of unmapping it.
  if (!HostSwaps() || CgroupSwapMax(pid) == uint64_t{0}) return absl::OkStatus();
  return Refused(
      "the host has swap on and may swap this VM's memory; set memory.swap.max=0 on its cgroup or "
      "turn swap off");
}

absl::Status CheckHugePages(int pid, const std::vector<uint64_t>& ram_inodes) {
  // In a large shmem folio a punch may zero instead of making a hole, with no fault afterwards.
  const auto setting = ShmemHugePageSetting();
  if (!setting) return absl::OkStatus();
  const bool forbidden = std::all_of(ram_inodes.begin(), ram_inodes.end(), [&](uint64_t inode) {
    return HugePagesForbidden(pid, inode);
  });
  if (forbidden && *setting != "shmem_enabled=force") return absl::OkStatus();
  return Refused(absl::StrFormat(
      "the host uses huge pages for shared memory (%s); set it to never, or load the library by "
      "-plugin, which excludes this VM's memory from them",
      *setting));
}

}  // namespace

std::vector<uint64_t> InodesOf(const std::vector<UniqueFd>& memfds) {
  std::vector<uint64_t> inodes;
  for (const UniqueFd& memfd : memfds) {
    const auto info = InspectMemfd(memfd.get());
    if (info.ok()) inodes.push_back(info->inode);
  }
  return inodes;
}

absl::StatusOr<RamLayout> CheckRam(int pid, const std::vector<ClaimedRamBlock>& blocks,
                                   const std::vector<UniqueFd>& memfds) {
  EBB_ASSIGN_OR_RETURN(const std::vector<MemfdInfo> infos, InspectAll(memfds));
  if (blocks.empty()) return absl::InvalidArgumentError("no RAM blocks");
  const std::vector<Vma> vmas = MemoryMap(pid);
  std::vector<RamMapping> mappings;
  for (const ClaimedRamBlock& block : blocks) {
    EBB_RETURN_IF_ERROR(CheckBlock(block, infos));
    if (!IsMapped(vmas, block, infos[block.memfd].inode)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "process %d does not map the RAM block at %#x as it says", pid, block.hva));
    }
    mappings.push_back({{block.hva}, BytesToPages(block.bytes), block.file_offset, block.memfd});
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = i + 1; j < blocks.size(); ++j) {
      if (Overlap(blocks[i], blocks[j])) {
        return absl::InvalidArgumentError("two RAM blocks overlap");
      }
      // One file page at two addresses would need two write-protections.
      const bool same_file = blocks[i].memfd == blocks[j].memfd;
      if (same_file && blocks[i].file_offset < blocks[j].file_offset + blocks[j].bytes &&
          blocks[j].file_offset < blocks[i].file_offset + blocks[i].bytes) {
        return absl::InvalidArgumentError("a part of guest RAM is mapped twice");
      }
    }
  }
  return RamLayout(std::move(mappings));
}

absl::Status CheckProcess(int pid, const std::vector<uint64_t>& ram_inodes) {
  for (const std::string& argument : CommandLine(pid)) {
    // QEMU registers a userfaultfd of its own for incoming postcopy.
    if (argument == "-incoming" || argument == "--incoming") {
      return Refused("the VM waits for an incoming migration");
    }
  }
  EBB_RETURN_IF_ERROR(CheckPinned(pid));
  EBB_RETURN_IF_ERROR(CheckOpenFiles(pid));
  EBB_RETURN_IF_ERROR(CheckKernelSwap(pid));
  EBB_RETURN_IF_ERROR(CheckHugePages(pid, ram_inodes));
  const std::vector<int> mappers = OtherMappers(ram_inodes, {pid, getpid()});
  if (!mappers.empty()) {
    return Refused(absl::StrFormat(
        "process %d maps the VM's memory too and would read zeros (vhost-user, virtiofs and "
        "ivshmem devices do this)",
        mappers.front()));
  }
  return absl::OkStatus();
}

}  // namespace ebb
