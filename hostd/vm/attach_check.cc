// SPDX-License-Identifier: MIT
#include "hostd/vm/attach_check.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "hostd/base/status_macros.h"

namespace ebb {
namespace {

absl::Status Refused(const std::string& reason) { return absl::FailedPreconditionError(reason); }

absl::StatusOr<std::vector<MemfdInfo>> InspectAll(const std::vector<UniqueFd>& memfds) {
  std::vector<MemfdInfo> infos;
  for (const UniqueFd& memfd : memfds) {
    EBB_ASSIGN_OR_RETURN(const MemfdInfo info, InspectMemfd(memfd.get()));
    if (info.page_bytes != kPageBytes) {
      return Refused(
          "guest RAM is in huge pages (hugetlb, or shmem_enabled=always); use 4 KiB pages for this "
          "VM");
    }
    infos.push_back(info);
  }
  return infos;
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

// CPR by descriptors (cpr-transfer, cpr-exec): the other QEMU maps the same memfds. QEMU refuses it
// itself unless all of its RAM is in such files, and this is the option for that. It shows in their
// names, too, where it came from a configuration file.
constexpr char kSharesAllRam[] =
    "it can hand its memory over to another QEMU (aux-ram-share=on, for CPR), which would see "
    "zeros";

bool IsForCpr(const std::string& argument) {
  constexpr std::string_view kOption = "aux-ram-share";
  for (size_t at = 0; (at = argument.find(kOption, at)) != std::string::npos;) {
    at += kOption.size();
    if (argument.compare(at, 4, "=off") != 0) return true;
  }
  return false;
}

absl::Status CheckCommandLine(const std::vector<std::string>& arguments) {
  // A QEMU always has arguments: without them its command line cannot be seen.
  if (arguments.empty()) return absl::UnavailableError("its command line is empty");
  if (std::any_of(arguments.begin(), arguments.end(), IsForCpr)) return Refused(kSharesAllRam);
  return absl::OkStatus();
}

// Whether its seccomp sandbox keeps it from executing programs.
bool SandboxDeniesExec(const std::vector<std::string>& command_line) {
  for (size_t i = 0; i + 1 < command_line.size(); ++i) {
    if (command_line[i] != "-sandbox" && command_line[i] != "--sandbox") continue;
    const std::string& sandbox = command_line[i + 1];
    const bool on = absl::StartsWith(sandbox, "on,") || absl::StrContains(sandbox, "enable=on");
    if (on && absl::StrContains(sandbox, "spawn=deny")) return true;
  }
  return false;
}

absl::Status CheckOpenFiles(const std::vector<std::string>& open_files) {
  struct Device {
    const char* prefix;
    const char* why;
  };
  // Each pins guest RAM for long or hides it, out of reach of write-protection and barriers.
  constexpr Device kDevices[] = {
      {"/dev/vfio", "a passed-through device (VFIO) pins its memory"},
      {"/dev/iommu", "a passed-through device (iommufd) pins its memory"},
      {"/dev/infiniband", "RDMA pins its memory"},
      {"/dev/vhost-vdpa", "a vDPA device pins its memory"},
      {"/dev/vhost-scsi", "vhost-scsi writes to its memory unseen"},
      {"/dev/udmabuf", "virtio-gpu blob resources (udmabuf) pin its memory"},
      {"/dev/sev", "its memory is encrypted (SEV)"},
      {"/memfd:pc.rom", kSharesAllRam},
      {"/memfd:pc.bios", kSharesAllRam},
      {"/memfd:/rom@", kSharesAllRam},
      {"anon_inode:[kvm-gmem]", "its memory is private to the guest (SEV-SNP, TDX)"},
  };
  for (const std::string& file : open_files) {
    for (const Device& device : kDevices) {
      if (absl::StartsWith(file, device.prefix)) {
        return Refused(absl::StrFormat("%s (open: %s)", device.why, file));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPinned(const ProcessView& view) {
  struct Field {
    const char* name;
    uint64_t bytes;
  };
  for (const Field& field : {Field{"VmPin", view.pinned_bytes}, {"VmLck", view.locked_bytes}}) {
    if (field.bytes == 0) continue;
    return Refused(absl::StrFormat(
        "QEMU has %d KiB of memory locked or pinned (%s); remove <locked/> or mem-lock=on",
        field.bytes / 1024, field.name));
  }
  return absl::OkStatus();
}

absl::Status CheckKernelSwap(const ProcessView& view, const HostView& host) {
  // With kernel swap, cooling a page would write it to the kernel's swap instead of unmapping it.
  if (!host.swaps || view.swap_max == uint64_t{0}) return absl::OkStatus();
  return Refused(
      "the host has swap on and may swap this VM's memory; set memory.swap.max=0 on its cgroup or "
      "turn swap off");
}

absl::Status CheckHugePages(const ProcessView& view, const HostView& host) {
  // In a large shmem folio a punch may zero instead of making a hole, with no fault afterwards.
  if (!host.shmem_huge_pages) return absl::OkStatus();
  const std::string& setting = *host.shmem_huge_pages;
  if (view.huge_pages_forbidden && setting != "shmem_enabled=force") return absl::OkStatus();
  return Refused(absl::StrFormat(
      "the host uses huge pages for shared memory (%s); set it to never, or load the library by "
      "-plugin, which excludes this VM's memory from them",
      setting));
}

absl::Status CheckNobodyElse(int pid, const VmRam& ram, const std::vector<FileUser>& users,
                             const char* does) {
  for (const FileUser& user : users) {
    const bool ours = std::find(ram.files.begin(), ram.files.end(), user.file) != ram.files.end();
    if (!ours || user.pid == pid || user.pid == getpid()) continue;
    return Refused(absl::StrFormat(
        "process %d %s the VM's memory too and would see zeros in place of swapped pages "
        "(vhost-user, virtiofs and ivshmem devices do this)",
        user.pid, does));
  }
  return absl::OkStatus();
}

// A part of guest RAM at a second address would be neither registered nor protected there.
absl::Status CheckNoOtherMapping(const std::vector<Vma>& vmas, const VmRam& ram) {
  for (const Vma& vma : vmas) {
    for (const RamMapping& mapping : ram.layout.mappings()) {
      if (vma.file != ram.files[mapping.memfd]) continue;
      const uint64_t vma_end = vma.file_offset + (vma.end.value - vma.start.value);
      const uint64_t first = std::max(vma.file_offset, mapping.file_offset);
      const uint64_t end = std::min(vma_end, mapping.file_offset + PagesToBytes(mapping.pages));
      if (first >= end) continue;
      if (vma.start.value + (first - vma.file_offset) !=
          mapping.hva.value + (first - mapping.file_offset)) {
        return Refused(absl::StrFormat("QEMU maps a part of guest RAM a second time, at %#x",
                                       vma.start.value));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNoOverlap(const std::vector<ClaimedRamBlock>& blocks,
                            const std::vector<MemfdInfo>& infos) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = i + 1; j < blocks.size(); ++j) {
      if (Overlap(blocks[i], blocks[j])) {
        return absl::InvalidArgumentError("two RAM blocks overlap");
      }
      // One page of the file at two addresses would need two write-protections.
      if (infos[blocks[i].memfd].file == infos[blocks[j].memfd].file &&
          blocks[i].file_offset < blocks[j].file_offset + blocks[j].bytes &&
          blocks[j].file_offset < blocks[i].file_offset + blocks[i].bytes) {
        return absl::InvalidArgumentError("a part of guest RAM is mapped twice");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RamLayout> LayOutRam(const std::vector<ClaimedRamBlock>& blocks,
                                    const std::vector<MemfdInfo>& memfds) {
  if (blocks.empty()) return absl::InvalidArgumentError("no RAM blocks");
  std::vector<RamMapping> mappings;
  for (const ClaimedRamBlock& block : blocks) {
    EBB_RETURN_IF_ERROR(CheckBlock(block, memfds));
    mappings.push_back({{block.hva}, BytesToPages(block.bytes), block.file_offset, block.memfd});
  }
  EBB_RETURN_IF_ERROR(CheckNoOverlap(blocks, memfds));
  return RamLayout(std::move(mappings));
}

absl::StatusOr<VmRam> CheckRam(int pid, const std::vector<ClaimedRamBlock>& blocks,
                               const std::vector<UniqueFd>& memfds) {
  EBB_ASSIGN_OR_RETURN(const std::vector<MemfdInfo> infos, InspectAll(memfds));
  VmRam ram;
  EBB_ASSIGN_OR_RETURN(ram.layout, LayOutRam(blocks, infos));
  for (const MemfdInfo& info : infos) ram.files.push_back(info.file);
  EBB_ASSIGN_OR_RETURN(const FileUsers users, UsersOf(ram.files));
  // First: RAM of another VM is best refused by naming that VM's process.
  EBB_RETURN_IF_ERROR(CheckNobodyElse(pid, ram, users.holders, "has open"));
  EBB_RETURN_IF_ERROR(CheckStillAllowed(pid, ram, users));
  return ram;
}

absl::Status CheckCannotExec(uint32_t qemu_version, const std::vector<std::string>& command_line) {
  // From 10.2 on there is cpr-exec, which QEMU does not refuse as it does cpr-transfer.
  constexpr uint32_t kHasCprExec = 10 << 16 | 2 << 8;
  if (qemu_version != 0 && qemu_version < kHasCprExec) return absl::OkStatus();
  if (SandboxDeniesExec(command_line)) return absl::OkStatus();
  const std::string which = qemu_version == 0 ? "a QEMU of unknown version"
                                              : absl::StrFormat("QEMU %d.%d", qemu_version >> 16,
                                                                qemu_version >> 8 & 0xff);
  return Refused(
      absl::StrFormat("%s can hand its memory over to a program that it executes (cpr-exec), which "
                      "would see zeros; "
                      "start it with -sandbox on,spawn=deny",
                      which));
}

absl::Status CheckProcess(int pid, const VmRam& ram, const ProcessView& view,
                          const HostView& host) {
  for (const RamMapping& mapping : ram.layout.mappings()) {
    if (IsMapped(view.memory_map, mapping, ram.files[mapping.memfd])) continue;
    return Refused(absl::StrFormat("process %d does not map guest RAM at %#x (any more)", pid,
                                   mapping.hva.value));
  }
  EBB_RETURN_IF_ERROR(CheckNoOtherMapping(view.memory_map, ram));
  EBB_RETURN_IF_ERROR(CheckCommandLine(view.command_line));
  EBB_RETURN_IF_ERROR(CheckPinned(view));
  EBB_RETURN_IF_ERROR(CheckOpenFiles(view.open_files));
  if (view.nested_guests) {
    return Refused("it runs nested guests, whose hypervisor pages KVM writes without a trace");
  }
  EBB_RETURN_IF_ERROR(CheckKernelSwap(view, host));
  return CheckHugePages(view, host);
}

absl::Status CheckStillAllowed(int pid, const VmRam& ram, const FileUsers& users) {
  const HostView host = HostView::Look();
  // Not those that were unplugged.
  std::vector<FileId> mapped;
  for (const RamMapping& mapping : ram.layout.mappings()) {
    mapped.push_back(ram.files[mapping.memfd]);
  }
  EBB_ASSIGN_OR_RETURN(const ProcessView view, LookAtProcess(pid, mapped, host));
  EBB_RETURN_IF_ERROR(CheckProcess(pid, ram, view, host));
  EBB_RETURN_IF_ERROR(CheckNobodyElse(pid, ram, users.mappers, "maps"));
  return CheckNobodyElse(pid, ram, users.holders, "has open");
}

}  // namespace ebb
