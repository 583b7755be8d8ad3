// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#include "hostd/wire/handover.h"

namespace ebb::plugin {

enum class Mode {
  kOptional,  // the VM runs without overcommit until ebbd is there
  kRequired,  // the VM does not start without ebbd
};

// What the user decided. As plugin arguments: socket=PATH,name=NAME,qmp=PATH,mode=MODE,
// qemu=any; with LD_PRELOAD: EBB_SOCKET, EBB_NAME, EBB_QMP, EBB_MODE, EBB_QEMU. Paths are absolute:
// -daemonize changes the working directory, and ebbd has another one.
struct Options {
  char socket_path[wire::kPathBytes] = {};
  char qmp_path[wire::kPathBytes] = {};  // empty: none
  char vm_name[wire::kVmNameBytes] = {};
  Mode mode = Mode::kOptional;
  bool any_qemu = false;  // also one that Ebb was not tested with
};

// Why options were not taken, for one line on stderr.
struct OptionError {
  char text[256] = {};
};

bool ParseArguments(int argc, char** argv, Options& options, OptionError& error);
// The mode is taken whatever is wrong with the rest: it says what becomes of the VM then.
bool ParseEnvironment(Options& options, OptionError& error);

// The name a VM gets when nobody chose one: QEMU's -name, else "qemu-PID".
void FillVmName(const char* command_line_path, Options& options);

}  // namespace ebb::plugin
