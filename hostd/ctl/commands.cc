// SPDX-License-Identifier: MIT
#include "hostd/ctl/commands.h"

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hostd/base/clock.h"
#include "hostd/base/size.h"
#include "hostd/base/units.h"
#include "hostd/ctl/entitlements.h"
#include "hostd/ctl/events.h"
#include "hostd/ctl/metrics.h"
#include "hostd/ctl/progress.h"
#include "hostd/ctl/session.h"
#include "hostd/ctl/tiers.h"
#include "hostd/ctl/views.h"
#include "hostd/ctl/vm_name.h"
#include "hostd/ctl/whole_file.h"

namespace ebb {
namespace {

constexpr int kPollIntervalMs = 200;

// Asks until `remaining(vm)` is 0. The last state of the VM; nothing when that was not reached, and
// then the reason was said and is in *exit_code.
std::optional<Json> WaitUntilDone(Session& session, const std::string& what,
                                  const std::string& name, Json vm, const InterruptWatch& interrupt,
                                  const std::function<uint64_t(const Json&)>& remaining,
                                  int* exit_code) {
  ProgressLine line;
  const int64_t start_ns = MonotonicNs();
  const uint64_t total = remaining(vm);
  uint64_t least = total;
  int64_t moved_ns = start_ns;
  while (true) {
    const uint64_t left = remaining(vm);
    if (left == 0) return vm;
    const int64_t now_ns = MonotonicNs();
    if (left < least) {
      least = left;
      moved_ns = now_ns;
    }
    const auto seconds = [](int64_t ns) {
      return static_cast<double>(ns) / static_cast<double>(kNsPerS);
    };
    line.Show(ProgressText(absl::StrCat(what, " ", name), total - least, total,
                           seconds(now_ns - start_ns), seconds(now_ns - moved_ns)));
    if (TextField(vm, "state") == "held") {
      line.Clear();
      *exit_code =
          Complain(kExitFailed, absl::StrCat(name, " is held, the ", what,
                                             " cannot finish: ", TextField(vm, "held_reason"),
                                             "\nLook at: ebbctl show ", name));
      return std::nullopt;
    }
    interrupt.Sleep(kPollIntervalMs);
    if (interrupt.interrupted()) {
      line.Clear();
      *exit_code = Complain(kExitInterrupted,
                            absl::StrCat("stopped waiting; the ", what,
                                         " goes on in ebbd. Watch it with: ebbctl show ", name));
      return std::nullopt;
    }
    std::optional<Json> next = session.Call("GET", PathOf(name));
    if (!next) {
      line.Clear();
      *exit_code = session.Fail();
      return std::nullopt;
    }
    vm = *std::move(next);
  }
}

int RunStatus(const Invocation& invocation) {
  Session session(invocation);
  const auto host = session.Call("GET", "/v1/status");
  if (!host) return session.Fail();
  if (invocation.json) {
    PrintJson(*host);
    return kExitDone;
  }
  const auto vms = session.Call("GET", "/v1/vms");
  if (!vms) return session.Fail();
  Print(StatusView(*host, *vms));
  return kExitDone;
}

int RunList(const Invocation& invocation) {
  Session session(invocation);
  const auto vms = session.Call("GET", "/v1/vms");
  if (!vms) return session.Fail();
  if (invocation.json) {
    PrintJson(*vms);
  } else {
    Print(ListView(*vms));
  }
  return kExitDone;
}

int RunShow(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  Session session(invocation);
  const auto vm = session.Call("GET", PathOf(name));
  if (!vm) return session.Fail();
  if (invocation.json) {
    PrintJson(*vm);
  } else {
    Print(VmView(*vm));
  }
  return kExitDone;
}

// What a swap-out that has ended leaves behind. A little above what was asked for is normal: the
// guest runs on.
std::string SwapOutResult(const std::string& name, uint64_t to_bytes, bool did_run,
                          const Json& vm) {
  if (!did_run) {
    return absl::StrCat(name, ": nothing to swap out; ", MemoryInOneLine(vm), "\n");
  }
  const uint64_t resident = NumberField(vm, "resident_bytes");
  if (resident <= to_bytes || resident - to_bytes <= to_bytes / 20 + kMiB) {
    return absl::StrCat(name, ": swap-out is done; ", MemoryInOneLine(vm), "\n");
  }
  return absl::StrCat(name, ": swap-out ended above ", HumanSize(to_bytes), "; ",
                      MemoryInOneLine(vm),
                      "\nThe guest touches its pages faster than they can be taken. To hold it "
                      "down: ebbctl limit ",
                      name, " SIZE\n");
}

int RunSwapOut(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  if (!invocation.to) {
    return Complain(kExitUsage,
                    absl::StrCat("swap-out needs to know how much may stay resident, for example: "
                                 "ebbctl swap-out ",
                                 name, " --to 256M"));
  }
  const absl::StatusOr<uint64_t> to_bytes = ParseSize(*invocation.to);
  if (!to_bytes.ok()) return Complain(kExitUsage, MessageOf(to_bytes.status()));

  const InterruptWatch interrupt;
  Session session(invocation);
  std::optional<Json> vm = session.Call("POST", PathOf(name, "/swap-out"),
                                        absl::StrCat("{\"to_bytes\":", *to_bytes, "}"));
  if (!vm) return session.Fail();
  const bool running = NumberField(*vm, "swap_out_target_bytes") > 0;
  if (running && !invocation.no_wait) {
    // While the daemon names a target the operation runs, even if the guest let memory go and there
    // is nothing to count.
    const auto remaining = [](const Json& now) -> uint64_t {
      const uint64_t target = NumberField(now, "swap_out_target_bytes");
      const uint64_t resident = NumberField(now, "resident_bytes");
      if (target == 0) return 0;
      return resident > target ? resident - target : 1;
    };
    int exit_code = kExitDone;
    vm = WaitUntilDone(session, "swap-out", name, *std::move(vm), interrupt, remaining, &exit_code);
    if (!vm) return exit_code;
  }
  if (invocation.json) {
    PrintJson(*vm);
  } else if (running && invocation.no_wait) {
    Print(absl::StrCat(name, ": swap-out to ", HumanSize(*to_bytes), " resident has begun; now ",
                       MemoryInOneLine(*vm), "\nWatch it with: ebbctl show ", name, "\n"));
  } else {
    Print(SwapOutResult(name, *to_bytes, running, *vm));
  }
  return kExitDone;
}

// What a swap-in that has ended leaves behind, and what to do about it.
std::string SwapInResult(const std::string& name, const Json& vm) {
  const uint64_t swapped = NumberField(vm, "swapped_bytes");
  const uint64_t limit = NumberField(vm, "limit_bytes");
  const uint64_t target = NumberField(vm, "target_bytes");
  if (swapped == 0) {
    return absl::StrCat(name, ": swap-in is done; everything is back, ",
                        HumanSize(NumberField(vm, "resident_bytes")), " resident\n");
  }
  if (IsHeldByBudget(vm) && NumberField(vm, "resident_bytes") + swapped > target) {
    return absl::StrCat(name, ": swap-in stopped at ", HumanSize(target),
                        ", its part of the host's budget; ", MemoryInOneLine(vm),
                        "\nIt gets more with a higher weight or a guarantee (ebbctl weight, ",
                        "guarantee), or a larger budget (ebbctl budget SIZE).\n");
  }
  if (limit > 0 && NumberField(vm, "resident_bytes") + swapped > limit) {
    return absl::StrCat(name, ": swap-in stopped at the VM's limit of ", HumanSize(limit), "; ",
                        MemoryInOneLine(vm),
                        "\nTo bring everything back, lift the limit first: ", "ebbctl limit ", name,
                        " none && ebbctl swap-in ", name, "\n");
  }
  return absl::StrCat(name, ": swap-in ended with pages still out; ", MemoryInOneLine(vm),
                      "\nThe host may be short of memory: free some, then repeat this.\n");
}

int RunSwapIn(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  const InterruptWatch interrupt;
  Session session(invocation);
  std::optional<Json> vm = session.Call("POST", PathOf(name, "/swap-in"));
  if (!vm) return session.Fail();
  const auto remaining = [](const Json& now) {
    return NumberField(now, "swap_in_remaining_bytes");
  };
  const bool running = remaining(*vm) > 0;
  if (running && !invocation.no_wait) {
    int exit_code = kExitDone;
    vm = WaitUntilDone(session, "swap-in", name, *std::move(vm), interrupt, remaining, &exit_code);
    if (!vm) return exit_code;
  }
  if (invocation.json) {
    PrintJson(*vm);
  } else if (running && invocation.no_wait) {
    Print(absl::StrCat(name, ": swap-in of ", HumanSize(remaining(*vm)), " has begun; now ",
                       MemoryInOneLine(*vm), "\nWatch it with: ebbctl show ", name, "\n"));
  } else {
    Print(SwapInResult(name, *vm));
  }
  return kExitDone;
}

int RunDetach(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  const InterruptWatch interrupt;
  Session session(invocation);
  std::optional<Json> vm = session.Call("POST", PathOf(name, "/detach"));
  if (!vm) return session.Fail();
  if (!invocation.no_wait) {
    const auto remaining = [](const Json& now) -> uint64_t {
      if (TextField(now, "state") != "detaching") return 0;
      return NumberField(now, "swapped_bytes") + 1;  // the last step has nothing to count
    };
    int exit_code = kExitDone;
    vm = WaitUntilDone(session, "detach", name, *std::move(vm), interrupt, remaining, &exit_code);
    if (!vm) return exit_code;
  }
  if (const std::string error = TextField(*vm, "detach_error"); !error.empty()) {
    return Complain(kExitFailed, absl::StrCat(name, " stays attached: ", error));
  }
  if (invocation.json) {
    PrintJson(*vm);
  } else if (TextField(*vm, "state") == "detaching") {
    Print(absl::StrCat(name, ": detach has begun, ", HumanSize(NumberField(*vm, "swapped_bytes")),
                       " to bring back\nWatch it with: ebbctl show ", name, "\n"));
  } else {
    Print(absl::StrCat(name,
                       ": detached; all of its memory is back and Ebb leaves it alone\n"
                       "To let it return: ebbctl attach ",
                       name, "\n"));
  }
  return kExitDone;
}

int RunAttach(const Invocation& invocation) {
  const std::string& name = invocation.arguments[0];
  if (!IsVmName(name)) return ComplainAboutName(name);
  Session session(invocation);
  const auto vm = session.Call("POST", PathOf(name, "/attach"));
  if (!vm) return session.Fail();
  if (invocation.json) {
    PrintJson(*vm);
  } else {
    Print(absl::StrCat(name,
                       ": may return; its library asks within 30 s\nWatch it with: ebbctl show ",
                       name, "\n"));
  }
  return kExitDone;
}

int RunMetrics(const Invocation& invocation) {
  Session session(invocation);
  const auto host = session.Call("GET", "/v1/status");
  if (!host) return session.Fail();
  const auto vms = session.Call("GET", "/v1/vms");
  if (!vms) return session.Fail();
  const auto tiers = session.Call("GET", "/v1/tiers");
  if (!tiers) return session.Fail();
  const std::string text = MetricsText(*host, *vms, *tiers);
  if (!invocation.output) {
    Print(text);
    return kExitDone;
  }
  const absl::Status written = WriteWholeFile(*invocation.output, text);
  return written.ok() ? kExitDone : Complain(kExitFailed, MessageOf(written));
}

constexpr Command kCommands[] = {
    {"status", "", 0, 0, "the daemon, and all VMs together",
     "Shows whether ebbd runs, for how long, and what it saves on this host.\n", &RunStatus},
    {"list", "", 0, 0, "one line for each VM",
     "Columns:\n"
     "  LIMIT      Ebb keeps the VM's resident memory at or below this, because of the limit "
     "set\n"
     "             by hand or of its part of the host's budget\n"
     "  RESIDENT   guest memory that is in the host's memory now\n"
     "  SWAPPED    guest memory taken by Ebb; back as soon as the guest touches it\n"
     "  POOL       host memory that keeps the swapped pages, compressed\n"
     "  RATIO      how well they compress\n"
     "  DISK       how much of SWAPPED is on the disk, if any is\n"
     "  SAVED      host memory gained: SWAPPED less POOL and bookkeeping\n"
     "  FAULT p99  all but 1 of 100 swapped pages that were touched came back within this\n",
     &RunList},
    {"show", "VM", 1, 0, "everything about one VM",
     "Shows where the VM's memory is, what that costs, and what Ebb is doing to it.\n", &RunShow},
    {"tier", "", 0, 0, "where swapped pages are: the pool and the disk, and how they do",
     "Columns:\n"
     "  STATE    ok; full: no room; failing: the last write failed; stalled: it does not answer.\n"
     "           What that means and what to do about it is said below the table\n"
     "  MAXIMUM  what the tier may take: ebbd --pool-max, the size of ebbd --disk\n"
     "  TAKEN    what VMs have of it for themselves\n"
     "  USED     what of that is in use\n"
     "  HOLDS    guest memory there, uncompressed; PAGES is the same in pages\n"
     "  READS, WRITES, and how many FAILED: blocks of the disk, since ebbd was started\n",
     &RunTier},
    {"limit", "VM SIZE|none", 2, 0, "keep a VM's resident memory at or below SIZE",
     "Ebb swaps pages out until the VM fits, and keeps it there. The guest is not told and\n"
     "keeps its RAM; pages come back when it touches them. `none` lifts the limit.\n\n"
     "Example: ebbctl limit web 256M\n",
     &RunLimit},
    {"budget", "SIZE|none", 1, 0, "let all VMs together cost the host SIZE at most",
     "What is resident, the pool and bookkeeping count. Each VM gets a part by the size of its\n"
     "RAM and its weight; what some do not use goes to the others. `ebbd --budget` sets it from\n"
     "the start. A guarantee comes first: ebbctl status says so if the budget is too small.\n\n"
     "Example: ebbctl budget 96G\n",
     &RunBudget},
    {"guarantee", "VM SIZE|none", 2, 0, "keep SIZE of a VM resident, whatever the budget",
     "As far as the guest uses it: nobody else's need takes it below this. Until then it is "
     "lent\n"
     "to others. All guarantees together must fit the budget.\n\n"
     "Example: ebbctl guarantee db 8G\n",
     &RunGuarantee},
    {"weight", "VM WEIGHT", 2, 0, "how much a VM gets of the host's budget",
     "WEIGHT is from 1 to 10000. Every VM has 100; one with 200 gets twice as much of the "
     "budget\n"
     "as another of the same size, if it uses it.\n\n"
     "Example: ebbctl weight web 200\n",
     &RunWeight},
    {"swap-out", "VM --to SIZE", 1, kTakesTo | kTakesNoWait,
     "swap out once, until SIZE is resident",
     "Takes pages until only SIZE is resident, then leaves the VM alone: what the guest touches\n"
     "afterwards comes back and stays. Waits until that is done; Ctrl-C ends only the "
     "waiting.\n\n"
     "Example: ebbctl swap-out web --to 256M\n",
     &RunSwapOut},
    {"swap-in", "VM", 1, kTakesNoWait, "bring swapped-out pages back",
     "Brings back as much as the VM's limit and the host's memory allow. Waits until that is\n"
     "done; Ctrl-C ends only the waiting.\n\n"
     "Example: ebbctl limit web none && ebbctl swap-in web\n",
     &RunSwapIn},
    {"detach", "VM", 1, kTakesNoWait, "bring everything back and leave a VM alone",
     "For what does not go together with Ebb, as QEMU's background snapshots. Waits until all\n"
     "of the VM's memory is back; Ctrl-C ends only the waiting. It runs on without Ebb until\n"
     "`ebbctl attach` lets it return, or ebbd is started again.\n",
     &RunDetach},
    {"attach", "VM", 1, 0, "let a VM that was detached return",
     "It has the limit that it had before. Other VMs attach by themselves.\n", &RunAttach},
    {"events", "", 0, kTakesFollow, "what has happened lately",
     "Attaches and detaches with their reasons, held VMs, orders and who gave them: the last\n"
     "1024 since ebbd was started. With --json one object a line. With -f it goes on with what\n"
     "happens, also when ebbd is started again, until Ctrl-C.\n",
     &RunEvents},
    {"metrics", "", 0, kTakesOutput | kTakesNoJson,
     "figures of the daemon and all VMs, for Prometheus",
     "In Prometheus' text format. For node_exporter's textfile collector, every 15 s or so:\n\n"
     "  ebbctl metrics --output /var/lib/prometheus/node-exporter/ebb.prom\n\n"
     "What the figures mean: docs/METRICS.md.\n",
     &RunMetrics},
};

}  // namespace

std::span<const Command> AllCommands() { return kCommands; }

const Command* FindCommand(std::string_view name) {
  for (const Command& command : AllCommands()) {
    if (name == command.name) return &command;
  }
  return nullptr;
}

}  // namespace ebb
