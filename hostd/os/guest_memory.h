// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hostd/base/units.h"
#include "hostd/os/os_result.h"
#include "hostd/os/userfaultfd.h"

namespace ebb {

// What pagemap says of one page in QEMU's page table.
struct PteState {
  bool present = false;
  bool write_protected = false;  // uffd-wp; kept as a marker when the PTE is zapped
};

// A message of the VM, by page.
struct GuestMessage {
  FaultMessage::Kind kind = FaultMessage::Kind::kUnknown;
  PageRange range;  // one page for a fault; for kRemove the part of guest RAM that was given back
};

// The operations on one VM's memory that the page protocol is made of. Everything the protocol does
// to a guest goes through here, so that a test can put a simulated kernel in its place. All calls
// are thread-safe; none waits for the guest. A range must lie in one RAM mapping where it says run.
class GuestMemory {
 public:
  virtual ~GuestMemory() = default;

  virtual uint64_t pages() const = 0;
  // The part of `range`, from its start, that one operation may cover.
  virtual PageRange FirstRun(PageRange range) const = 0;

  // Makes touches of holes and writes to protected pages raise messages. Idempotent.
  virtual OsResult Register(PageRange run) = 0;
  virtual OsResult Unregister(PageRange run) = 0;

  // The mappings that QEMU does not have (any more) where the layout says: their RAM was unplugged,
  // and something else may lie there by now. Reads /proc, and is not for owners.
  virtual OsResult FindUnmapped(std::vector<PageRange>* unmapped) = 0;

  // The three operations that can make a page accessible. Only the owner of Fixing or SwappingIn
  // may call them. Each wakes the threads that wait on the page, unless it returns kExists.
  virtual OsResult Unprotect(PageIndex page) = 0;
  virtual OsResult Fill(PageIndex page, const std::byte* content) = 0;
  // Fills holes with zeros up to the first page that is there; see Userfaultfd::ZeroPage.
  virtual OsResult FillZero(PageRange run, uint64_t* filled_pages) = 0;

  virtual OsResult WriteProtect(PageRange run) = 0;
  virtual OsResult Wake(PageRange run) = 0;

  // Zaps the PTEs; the pages stay in the memfd and the next touch maps them again. Best effort.
  virtual OsResult ZapPtes(PageRange run) = 0;
  virtual OsResult ReadPtes(PageRange run, std::span<PteState> states) = 0;

  // Reads one page from the memfd, not through QEMU's mapping.
  virtual OsResult Read(PageIndex page, std::byte* content) = 0;
  // Frees the pages' memory and leaves holes. Has taken effect on all of the run when it returns.
  virtual OsResult Punch(PageRange run) = 0;
  // The first run of pages inside `range` that are not holes; count 0 when there is none.
  virtual PageRange NextPresent(PageRange range) = 0;

  // Guest pages that take memory now.
  virtual uint64_t ResidentPages() = 0;

  // Pending messages without blocking; see Userfaultfd::Read. Messages for addresses that are not
  // guest RAM come as kUnknown.
  virtual OsResult ReadMessages(std::span<GuestMessage> messages, size_t* count) = 0;
  // Becomes readable when messages are pending.
  virtual int message_fd() const = 0;
};

}  // namespace ebb
