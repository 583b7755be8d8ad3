// SPDX-License-Identifier: MIT
// ebbd, the host daemon: puts its parts together, runs them, and stops cleanly.

#include <getopt.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "hostd/base/clock.h"
#include "hostd/base/log.h"
#include "hostd/base/size.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/wait_checks.h"
#include "hostd/control/control_server.h"
#include "hostd/os/kernel_probe.h"
#include "hostd/os/listen_socket.h"
#include "hostd/os/open_guard.h"
#include "hostd/os/thread.h"
#include "hostd/peers/qemu/handover.h"
#include "hostd/tiers/disk/disk_tier.h"
#include "hostd/tiers/disk/open_tier_disk.h"
#include "hostd/vm/budget_watch.h"
#include "hostd/vm/condition_watch.h"
#include "hostd/vm/registry.h"

namespace {

struct Options {
  std::string runtime_dir = "/run/ebb";
  std::optional<std::string> handover_group;
  std::string control_group;
  uint64_t budget_bytes = 0;
  uint64_t pool_max_bytes = 0;
  std::string disk;
  std::optional<uint64_t> disk_bytes;
};

constexpr char kUsage[] =
    R"(Usage: ebbd [OPTIONS]
Takes cold memory away from running QEMU VMs and brings it back when they touch it.

  --runtime-dir DIR       where the sockets are (default /run/ebb):
                            handover.sock  libebb-qemu.so in QEMU connects here
                            control.sock   ebbctl connects here
                            status.sock    the same, for everybody, who may only look
  --handover-group GROUP  who may connect to handover.sock besides root (default kvm, as which
                          QEMU runs, if there is one; an empty GROUP: nobody)
  --control-group GROUP   who may give orders on control.sock besides root (default: nobody)
  --budget SIZE           what all VMs together may cost the host: resident memory, the pool and
                          bookkeeping (default: no budget; limits are set by ebbctl, per VM). SIZE
                          is bytes, or a number with K, M, G or T: 96G
  --pool-max SIZE         what the compressed pools of all VMs together may take of the host's
                          memory (default: no maximum); what has no room there goes to the disk,
                          or stays resident if there is none
  --disk PATH[:SIZE]      the disk tier: a file of that size, made if it is not there, or a block
                          device. Whatever an earlier ebbd has left there is lost; what is anybody
                          else's is left alone, and ebbd does not start
  --help                  this text
  --version

Needs root: it opens /dev/userfaultfd, and maps QEMU's page tables out with process_madvise.
SIGTERM or SIGINT stop it cleanly: every swapped page is brought back first, and the stop is refused
where they do not fit into the host's memory. kill -9 stops its VMs for good: this version cannot
take them over.
)";

[[noreturn]] void Usage(int status) {
  std::fputs(kUsage, status == 0 ? stdout : stderr);
  std::exit(status);
}

// At least what a VM needs at least, of whichever it is.
uint64_t SizeFrom(const char* option, const char* text) {
  const absl::StatusOr<uint64_t> bytes = ebb::ParseSize(text);
  if (!bytes.ok() || *bytes < ebb::kLeastResidentBytes) {
    std::fprintf(
        stderr, "ebbd: --%s %s: %s\n", option, text,
        bytes.ok() ? "must be at least 32M" : std::string(bytes.status().message()).c_str());
    std::exit(2);
  }
  return *bytes;
}

// PATH or PATH:SIZE. A path may have colons, if a size follows.
void ParseDisk(const std::string& text, Options* options) {
  const size_t colon = text.rfind(':');
  options->disk = text.substr(0, colon);
  if (options->disk.empty()) {
    std::fprintf(stderr, "ebbd: --disk %s: names no file or device\n", text.c_str());
    std::exit(2);
  }
  if (colon != std::string::npos) {
    options->disk_bytes = SizeFrom("disk", text.c_str() + colon + 1);
  }
}

Options ParseOptions(int argc, char** argv) {
  constexpr option kLong[] = {
      {"runtime-dir", required_argument, nullptr, 'd'},
      {"handover-group", required_argument, nullptr, 'g'},
      {"control-group", required_argument, nullptr, 'c'},
      {"budget", required_argument, nullptr, 'b'},
      {"pool-max", required_argument, nullptr, 'p'},
      {"disk", required_argument, nullptr, 'k'},
      {"help", no_argument, nullptr, 'h'},
      {"version", no_argument, nullptr, 'v'},
      {},
  };
  Options options;
  for (int c; (c = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'd':
        options.runtime_dir = optarg;
        break;
      case 'g':
        options.handover_group = optarg;
        break;
      case 'c':
        options.control_group = optarg;
        break;
      case 'b':
        options.budget_bytes = SizeFrom("budget", optarg);
        break;
      case 'p':
        options.pool_max_bytes = SizeFrom("pool-max", optarg);
        break;
      case 'k':
        ParseDisk(optarg, &options);
        break;
      case 'h':
        Usage(0);
      case 'v':
        std::puts("ebbd " EBB_VERSION);
        std::exit(0);
      default:
        Usage(2);
    }
  }
  if (optind != argc) Usage(2);
  return options;
}

// For the signal handler, which has no other way to find it.
ebb::Handover* running_handover = nullptr;

void StopOnSignal(int) { running_handover->RequestStop(); }

// Null when there is to be none.
absl::StatusOr<std::unique_ptr<ebb::DiskTier>> OpenDisk(const Options& options) {
  if (options.disk.empty()) return nullptr;
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<ebb::Disk> disk,
                       ebb::OpenTierDisk(options.disk, options.disk_bytes));
  ebb::LogInfo("disk tier: %s, %d MiB", options.disk, disk->bytes() / ebb::kMiB);
  return std::make_unique<ebb::DiskTier>(options.disk, std::move(disk));
}

absl::Status Run(const Options& options) {
  const int64_t started_ns = ebb::MonotonicNs();
  EBB_ASSIGN_OR_RETURN(ebb::UniqueFd device, ebb::OpenUserfaultfdDevice());
  EBB_RETURN_IF_ERROR(ebb::ProbeKernel(device.get()));
  ebb::LogInfo("kernel probe passed in %d ms", (ebb::MonotonicNs() - started_ns) / ebb::kNsPerMs);
  ebb::RaiseFileLimit();
  if (const absl::Status protection = ebb::ProtectDaemon(); !protection.ok()) {
    ebb::LogWarning("ebbd is not protected against the host running out of memory: %s",
                    std::string(protection.message()));
  }

  const absl::StatusOr<std::unique_ptr<ebb::OpenGuard>> open_guard = ebb::OpenGuard::Start();
  if (!open_guard.ok()) {
    ebb::LogWarning(
        "other processes are not kept from opening the memory of VMs (%s): detach a VM before "
        "another QEMU takes its memory over (x-ignore-shared), or its guest reads zeros",
        std::string(open_guard.status().message()));
  }

  std::error_code error;
  ebb::MayWait("for the runtime folder");
  std::filesystem::create_directories(options.runtime_dir, error);
  if (error) {
    return absl::PermissionDeniedError("creating " + options.runtime_dir + ": " + error.message());
  }
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<ebb::DiskTier> disk, OpenDisk(options));
  ebb::Registry registry(EBB_VERSION, started_ns, options.budget_bytes, options.pool_max_bytes,
                         std::move(disk));
  const std::string group = options.handover_group.value_or(ebb::GroupExists("kvm") ? "kvm" : "");
  EBB_ASSIGN_OR_RETURN(std::unique_ptr<ebb::Handover> handover,
                       ebb::Handover::Listen({options.runtime_dir + "/handover.sock", group,
                                              open_guard.ok() ? open_guard->get() : nullptr},
                                             std::move(device), &registry));
  running_handover = handover.get();
  struct sigaction stop = {};
  stop.sa_handler = StopOnSignal;
  sigaction(SIGTERM, &stop, nullptr);
  sigaction(SIGINT, &stop, nullptr);
  // Neither a closed terminal nor a closed pipe behind stderr may take the VMs down.
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);

  ebb::ControlServerOptions control_options;
  control_options.socket_path = options.runtime_dir + "/control.sock";
  if (!options.control_group.empty()) {
    control_options.socket_mode = 0660;
    control_options.socket_group = options.control_group;
  }
  ebb::ControlServerOptions status_options;
  status_options.socket_path = options.runtime_dir + "/status.sock";
  status_options.socket_mode = 0666;
  status_options.orders_go_to = control_options.socket_path;
  EBB_ASSIGN_OR_RETURN(const std::unique_ptr<ebb::ControlServer> control,
                       ebb::ControlServer::Start(registry, control_options));
  EBB_ASSIGN_OR_RETURN(const std::unique_ptr<ebb::ControlServer> status,
                       ebb::ControlServer::Start(registry, status_options));
  ebb::LogInfo("ebbd " EBB_VERSION " is ready in %s", options.runtime_dir);
  const ebb::ConditionWatch watch(&registry);
  const ebb::BudgetWatch budget(&registry);
  while (handover->RunOnce()) {
  }
  ebb::LogInfo("stopped; no VM has swapped pages");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  const absl::Status status = Run(options);
  if (status.ok()) return 0;
  ebb::LogError("ebbd cannot run: %s", std::string(status.message()));
  return 1;
}
