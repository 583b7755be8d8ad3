// SPDX-License-Identifier: MIT
#include "hostd/peers/qemu/incoming_migration.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "hostd/base/log.h"
#include "hostd/base/status_macros.h"
#include "hostd/base/units.h"
#include "hostd/os/process.h"

namespace ebb {
namespace {

constexpr int64_t kAskNs = kNsPerS / 4;
// For this look the kernel walks all of QEMU's page tables, and other VMs wait for this thread.
constexpr int64_t kLookAgainNs = 5 * kNsPerS;

constexpr char kQueryStatus[] = R"({"execute": "query-status"})";
constexpr char kQueryMigrate[] = R"({"execute": "query-migrate"})";

// The answer's "status", a word of QEMU's; empty: there is none.
std::string StatusIn(const std::string& answer) {
  const auto json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return "";
  const auto found = json.find("status");
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

// What QEMU calls a RunState.
bool HasArrived(const std::string& run_state) {
  return !run_state.empty() && run_state != "inmigrate";
}

}  // namespace

IncomingMigration::IncomingMigration(std::string vm_name, std::string qmp_path, int pid)
    : vm_name_(std::move(vm_name)), qmp_path_(std::move(qmp_path)), pid_(pid) {}

absl::StatusOr<bool> IncomingMigration::IsAwaitedBy(int pid) {
  EBB_ASSIGN_OR_RETURN(const std::vector<std::string> arguments, CommandLine(pid));
  // A QEMU always has arguments: without them its command line cannot be seen.
  if (arguments.empty()) return absl::UnavailableError("its command line is empty");
  return std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument == "-incoming" || argument == "--incoming";
  });
}

int64_t IncomingMigration::OnTick(int64_t now_ns) {
  if (now_ns < next_ask_ns_) return next_ask_ns_ - now_ns;
  next_ask_ns_ = now_ns + kAskNs;
  if (!connection_.connected()) Connect();
  if (connection_.idle()) Ask();
  return kAskNs;
}

void IncomingMigration::OnReadable() { connection_.OnReadable(); }

void IncomingMigration::Connect() {
  const absl::Status status = connection_.Connect(qmp_path_, pid_);
  if (status.ok() || said_trouble_) return;
  said_trouble_ = true;
  LogWarning(
      "vm %s: cannot ask QEMU whether its migration is over (%s); it is left alone until "
      "that is known",
      vm_name_, std::string(status.message()));
}

void IncomingMigration::Ask() {
  connection_.Send(kQueryStatus, [this](bool ok, const std::string& answer) {
    if (!ok || !HasArrived(StatusIn(answer)) || !connection_.idle()) return;
    // With postcopy the guest runs before all of its memory has come.
    connection_.Send(kQueryMigrate, [this](bool known, const std::string& migration) {
      if (!known || StatusIn(migration).find("postcopy") != std::string::npos) return;
      LookForUserfaultfd();
    });
  });
}

void IncomingMigration::LookForUserfaultfd() {
  const absl::StatusOr<bool> registered = HasUserfaultfdRegistered(pid_);
  over_ = registered.ok() && !*registered;
  if (!over_) next_ask_ns_ += kLookAgainNs;
}

}  // namespace ebb
