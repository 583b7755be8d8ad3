// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ebb {

enum ExitCode {
  kExitDone = 0,
  kExitFailed = 1,         // the daemon refused, or failed; the output could not be written
  kExitUsage = 2,          // the command line makes no sense
  kExitUnreachable = 3,    // there is no daemon to ask
  kExitInterrupted = 130,  // Ctrl-C while waiting, as shells have it
};

// A command line, taken apart.
struct Invocation {
  std::string socket_path;
  bool json = false;
  bool no_wait = false;
  bool follow = false;
  std::optional<std::string> to;       // --to SIZE
  std::optional<std::string> output;   // --output FILE
  std::vector<std::string> arguments;  // what follows the command's name
};

// Options that not all commands take, as bits.
enum CommandOption : unsigned {
  kTakesTo = 1,
  kTakesNoWait = 2,
  kTakesOutput = 4,
  kTakesNoJson = 8,
  kTakesFollow = 16,
};

struct Command {
  const char* name;
  const char* arguments;  // as in the usage line
  size_t argument_count;
  unsigned options;  // bits of CommandOption
  const char* summary;
  const char* help;
  int (*run)(const Invocation& invocation);  // returns an ExitCode
};

std::span<const Command> AllCommands();
const Command* FindCommand(std::string_view name);

}  // namespace ebb
