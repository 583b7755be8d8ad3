// SPDX-License-Identifier: MIT
// libebb-qemu.so: how it gets into QEMU, by -plugin or by LD_PRELOAD, and what it does there first.
//
// Rules of living in someone else's process:
//  1. Nothing of QEMU's is touched: no structure, no lock, no callback, no guest page. What is
//     needed is read from /proc/self and by fstat. (One function is called, once, in the
//     constructor: qmp_query_version.)
//  2. libc only. Two symbols are exported.
//  3. One thread, all signals blocked, small stack, no heap; it never ends and never exits QEMU.
//     It asks for nothing that QEMU's seccomp filter or an unprivileged user is denied.
//  4. Every descriptor is O_CLOEXEC: a program that QEMU starts inherits none.
//  5. madvise on guest RAM before the guest runs, and never after: once registered it would raise
//     an event and block until ebbd has read it.
//  6. Nothing on stdout; on stderr only what changed, each line beginning with "ebb: ".
//  7. No ebbd is no reason to stop a VM, unless mode=required said so, before the guest has run.
//     What ebbd trusts the library with outlives ebbd (session.h).
//
// The two symbols are declared here: QEMU's plugin header is in no distribution's package, and its
// functions differ between versions.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <type_traits>

#include "qemu-plugin/command_line.h"
#include "qemu-plugin/handshake.h"
#include "qemu-plugin/options.h"
#include "qemu-plugin/preload.h"
#include "qemu-plugin/qemu_version.h"
#include "qemu-plugin/ram_blocks.h"
#include "qemu-plugin/session.h"
#include "qemu-plugin/status_log.h"

// Protected: visible to QEMU, and never replaced by the symbols of a preloaded copy.
#define EBB_EXPORT extern "C" __attribute__((visibility("protected")))

EBB_EXPORT int qemu_plugin_version;
EBB_EXPORT int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv);

int qemu_plugin_version = 1;

namespace ebb::plugin {
namespace {

constexpr int kRequiredSeconds = 10;

// Not destroyed: exit() runs destructors while vCPUs still run.
constinit Session g_session;
static_assert(std::is_trivially_destructible_v<Session>);

constinit QemuVersion g_qemu_version;

void* LookUp(const char* name) { return dlsym(RTLD_DEFAULT, name); }

// How the loader calls this library. QEMU does not export this symbol, so that it is ours.
const char* OwnPath() {
  Dl_info info;
  return dladdr(&qemu_plugin_version, &info) != 0 ? info.dli_fname : "";
}

// -daemonize forks after the constructor and before there is RAM; other forks precede an exec.
void SurviveDaemonize() {
  if (!CommandLineHas(kOwnCommandLine, "daemonize")) return;
  pthread_atfork([] { g_session.BeforeFork(); }, [] { g_session.AfterForkInParent(); },
                 [] { g_session.AfterForkInChild(); });
}

// What becomes of a VM that cannot be served.
const char* Outcome(const Options& options) {
  return options.mode == Mode::kRequired ? "does not start" : "runs without overcommit";
}

// Says why not, and what to do.
bool MayServe(const Options& options, const char* override) {
  char why[160];
  if (options.any_qemu || IsTested(g_qemu_version, why, sizeof why)) return true;
  Options named = options;
  FillVmName(kOwnCommandLine, named);
  WriteLine("VM %s: %s; the VM %s. Use another QEMU or Ebb, or take the risk with %s",
            named.vm_name, why, Outcome(options), override);
  return false;
}

bool DaemonAnswers(const Options& options) {
  if (AwaitDaemon(options.socket_path, kRequiredSeconds)) return true;
  Options named = options;
  FillVmName(kOwnCommandLine, named);
  WriteLine("EBB_MODE=required: VM %s does not start without ebbd at %s", named.vm_name,
            options.socket_path);
  return false;
}

// Nothing of QEMU's has run yet. Whether ebbd wants the VM is known only when there is RAM, which
// is too late to stop a guest that may be running by then.
void ExitIfRequired(const Options& options) {
  if (options.mode == Mode::kRequired) _exit(EXIT_FAILURE);
}

// Loaded by -plugin this does nothing: then EBB_SOCKET has no meaning, or qemu_plugin_install is
// about to be called.
void StartFromPreload() {
  const char* socket = getenv("EBB_SOCKET");
  if (socket == nullptr || *socket == '\0' || !RunsInQemu()) return;
  const char* own_path = OwnPath();
  LeavePreloadList(own_path);
  if (CommandLineLoadsPlugin(kOwnCommandLine, BaseName(own_path))) return;

  Options options;
  OptionError error;
  if (!ParseEnvironment(options, error)) {
    WriteLine("%s; the VM %s", error.text, Outcome(options));
    return ExitIfRequired(options);
  }
  if (!MayServe(options, "EBB_QEMU=any")) return ExitIfRequired(options);
  if (options.mode == Mode::kRequired && !DaemonAnswers(options)) return ExitIfRequired(options);
  SurviveDaemonize();
  if (!g_session.Start(options, g_qemu_version.packed(), Ram::kAwaited)) {
    WriteLine("cannot create a thread; the VM %s", Outcome(options));
    ExitIfRequired(options);
  }
}

__attribute__((constructor)) void OnLoad() {
  g_qemu_version = AskQemuVersion(LookUp);
  qemu_plugin_version = ChoosePluginApi(g_qemu_version, LookUp, getenv("EBB_PLUGIN_API"));
  StartFromPreload();
}

bool Install(int argc, char** argv) {
  Options options;
  OptionError error;
  if (!ParseArguments(argc, argv, options, error)) {
    WriteLine("%s", error.text);
    return false;
  }
  FillVmName(kOwnCommandLine, options);
  const bool required = options.mode == Mode::kRequired;
  if (!MayServe(options, "qemu=any")) return !required;

  RamLayout ram;
  const bool has_ram = FindRam(ram) != RamSearch::kNone;
  ForbidHugePages(ram);
  if (!has_ram) {
    WriteLine("guest RAM is not a shared memory-backend-memfd; no overcommit");
    if (required) return false;
  }
  const Ram state = has_ram ? Ram::kPresent : Ram::kAwaited;
  if (!g_session.Start(options, g_qemu_version.packed(), state)) {
    WriteLine("cannot create a thread; no overcommit");
    return !required;
  }
  if (required && !g_session.WaitUntilAttached(kRequiredSeconds)) {
    WriteLine("mode=required: VM %s does not start without ebbd at %s", options.vm_name,
              options.socket_path);
    return false;
  }
  return true;
}

}  // namespace
}  // namespace ebb::plugin

// QEMU calls this once per -plugin, from its main thread, with guest RAM mapped and nothing written
// to it yet. Non-zero makes QEMU exit.
int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv) {
  // A preloaded copy from another file has a session of its own; it takes over these arguments.
  using InstallFunction = int (*)(uint64_t, const void*, int, char**);
  auto* visible = reinterpret_cast<InstallFunction>(ebb::plugin::LookUp("qemu_plugin_install"));
  if (visible != nullptr && visible != &qemu_plugin_install) {
    return visible(id, info, argc, argv);
  }
  return ebb::plugin::Install(argc, argv) ? 0 : 1;
}
