// SPDX-License-Identifier: MIT
#pragma once

namespace ebb {

// How an attempt to serve a page ended. Allocation-free: this is the fault path.
enum class PageOutcome {
  kServed,     // the page is accessible, or its owner will wake whoever waits
  kChanged,    // the page's word changed meanwhile: look at it again
  kReading,    // its content is being read from the disk; SwapIn::NextRead says how that ends
  kRetry,      // the VM's memory map is changing: read the next message, then come back
  kNoMemory,   // host or cgroup is full: the page is as it was; make room, then come back
  kLost,       // the content cannot be produced: the VM is held
  kNotMapped,  // QEMU has unmapped this RAM; the page is as it was
  kFailed,     // the kernel refuses for a reason we do not know; the page is as it was
  kGone,       // QEMU has exited
};

}  // namespace ebb
