// SPDX-License-Identifier: MIT
// fake_ebbd FOLDER: control servers on FOLDER/control.sock and FOLDER/status.sock, as ebbd has
// them, with events of every kind, a disk and VMs in every state, none of which exists. Needs no
// root. For tests in other languages. Says "ready" when it serves, and ends when its stdin does.
#include <cstdio>
#include <string>

#include "hostd/control/control_server.h"
#include "tests/hostd/control/fake_host.h"

namespace ebb {
namespace {

void AddVms(FakeHost& host) {
  host.Add(FakeHost::SomeVmOnDisk("web"));
  host.SetDisk(FakeHost::SomeDisk());

  VmStatus fresh;
  fresh.name = "fresh";
  fresh.pid = 4243;
  fresh.state = "running";
  fresh.ram_bytes = 2048 * kMiB;
  fresh.barrier_mode = "grace";
  host.Add(fresh);

  VmStatus held = FakeHost::SomeVm("broken");
  held.state = "held";
  held.held_reason = "1 pages cannot be produced; threads that touch them wait";
  held.held_pages = 1;
  host.Add(held);

  // Its figures were read while pages were on the move.
  VmStatus moving = FakeHost::SomeVm("moving");
  moving.state = "detaching";
  moving.resident_bytes = moving.ram_bytes - 100 * kMiB;
  moving.detach_error = "its pages do not fit into the host's memory";
  host.Add(moving);

  VmStatus away;
  away.name = "away";
  away.pid = 4244;
  away.state = "detached";
  away.ram_bytes = 512 * kMiB;
  away.limit_bytes = 128 * kMiB;
  host.Add(away);
}

void AddEvents(FakeHost& host) {
  for (int kind = 0; EventKindName(static_cast<EventKind>(kind)) != std::string("?"); ++kind) {
    host.events().Add(static_cast<EventKind>(kind), "web", "something happened to web");
  }
}

int Main(const std::string& folder) {
  FakeHost host;
  AddVms(host);
  AddEvents(host);
  ControlServerOptions options;
  options.socket_path = folder + "/control.sock";
  ControlServerOptions status_options;
  status_options.socket_path = folder + "/status.sock";
  status_options.socket_mode = 0666;
  status_options.orders_go_to = options.socket_path;
  const auto control = ControlServer::Start(host, options);
  const auto status = ControlServer::Start(host, status_options);
  if (!control.ok() || !status.ok()) {
    std::fputs("fake_ebbd: cannot serve in that folder\n", stderr);
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

}  // namespace
}  // namespace ebb

int main(int argc, char** argv) {
  if (argc == 2) return ebb::Main(argv[1]);
  std::fputs("usage: fake_ebbd FOLDER\n", stderr);
  return 2;
}
