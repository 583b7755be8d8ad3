// SPDX-License-Identifier: MIT
// ebbctl: orders and questions for ebbd, over its control socket.
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hostd/ctl/commands.h"
#include "hostd/ctl/table.h"

namespace ebb {
namespace {

constexpr const char* kDefaultSocket = "/run/ebb/control.sock";
constexpr const char* kSocketVariable = "EBB_CONTROL_SOCKET";

enum Option { kSocket = 256, kJson, kTo, kNoWait, kHelp, kVersion };

constexpr option kOptions[] = {
    {"socket", required_argument, nullptr, kSocket},
    {"json", no_argument, nullptr, kJson},
    {"to", required_argument, nullptr, kTo},
    {"no-wait", no_argument, nullptr, kNoWait},
    {"help", no_argument, nullptr, kHelp},
    {"version", no_argument, nullptr, kVersion},
    {nullptr, 0, nullptr, 0},
};

std::string UsageLine(const Command& command) {
  std::string text = command.name;
  if (command.arguments[0] != '\0') absl::StrAppend(&text, " ", command.arguments);
  if (command.takes_no_wait) text += " [--no-wait]";
  return text;
}

std::string OptionsHelp(bool to, bool no_wait) {
  Table options({Align::kLeft, Align::kLeft});
  if (to) options.AddRow({"--to SIZE", "what may stay resident"});
  if (no_wait) options.AddRow({"--no-wait", "return at once; ebbd goes on by itself"});
  options.AddRow({"--json", "print the control API's JSON instead of text"});
  options.AddRow({"--socket PATH", absl::StrCat("ebbd's control socket (default $", kSocketVariable,
                                                " or ", kDefaultSocket, ")")});
  options.AddRow({"-h, --help", "this text; after a command, about that command"});
  options.AddRow({"-V, --version", "print the version"});
  return "Options:\n" + options.ToString("  ");
}

constexpr const char* kSizeHelp =
    "SIZE is bytes, or a number with K, M, G or T (powers of 1024): 268435456, 256M, 1.5G.\n";

std::string GeneralHelp() {
  Table commands({Align::kLeft, Align::kLeft});
  for (const Command& command : AllCommands()) {
    commands.AddRow({UsageLine(command), command.summary});
  }
  return absl::StrCat(
      "Usage: ebbctl COMMAND [OPTIONS]\n\n",
      "Talks to ebbd, which lets this host's VMs have more memory than the host has.\n\n",
      "Commands:\n", commands.ToString("  "), "\n", OptionsHelp(false, false), "\n", kSizeHelp,
      "\nExit codes: 0 done, 1 ebbd refused or failed, 2 wrong usage, 3 ebbd cannot be reached,\n"
      "130 Ctrl-C while waiting.\n");
}

std::string CommandHelp(const Command& command) {
  const bool takes_size = std::strstr(command.arguments, "SIZE") != nullptr;
  return absl::StrCat("Usage: ebbctl ", UsageLine(command), " [OPTIONS]\n\n", command.help, "\n",
                      OptionsHelp(command.takes_to, command.takes_no_wait), takes_size ? "\n" : "",
                      takes_size ? kSizeHelp : "");
}

int ComplainAboutUsage(const std::string& message, const char* command_name = "") {
  std::fprintf(stderr, "ebbctl: %s\nSee: ebbctl %s%s--help\n", message.c_str(), command_name,
               command_name[0] == '\0' ? "" : " ");
  return kExitUsage;
}

int ComplainAboutCommand(const char* name) {
  std::string known;
  for (const Command& command : AllCommands()) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", command.name);
  }
  return ComplainAboutUsage(absl::StrCat("no command \"", name, "\"; there are: ", known));
}

// Output that could not be written (a full disk, say) must not look like success.
int FlushAndReturn(int exit_code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  std::perror("ebbctl: cannot write the output");
  return exit_code == kExitDone ? kExitFailed : exit_code;
}

int Print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return FlushAndReturn(kExitDone);
}

int Main(int argc, char** argv) {
  if (argc < 1) return kExitUsage;
  char name[] = "ebbctl";  // for getopt_long's messages, however we were called
  argv[0] = name;
  Invocation invocation;
  const char* from_environment = std::getenv(kSocketVariable);
  const bool is_set = from_environment != nullptr && from_environment[0] != '\0';
  invocation.socket_path = is_set ? from_environment : kDefaultSocket;

  bool help = false;
  bool version = false;
  int option;
  while ((option = getopt_long(argc, argv, "hV", kOptions, nullptr)) != -1) {
    switch (option) {
      case kSocket:
        invocation.socket_path = optarg;
        break;
      case kJson:
        invocation.json = true;
        break;
      case kTo:
        invocation.to = optarg;
        break;
      case kNoWait:
        invocation.no_wait = true;
        break;
      case 'h':
      case kHelp:
        help = true;
        break;
      case 'V':
      case kVersion:
        version = true;
        break;
      default:  // getopt_long has said what is wrong
        std::fputs("See: ebbctl --help\n", stderr);
        return kExitUsage;
    }
  }
  if (version) return Print("ebbctl " EBB_VERSION "\n");
  if (optind < argc && std::string_view(argv[optind]) == "help") {
    help = true;
    ++optind;
  }
  if (optind == argc) {
    if (help) return Print(GeneralHelp());
    std::fputs(GeneralHelp().c_str(), stderr);
    return kExitUsage;
  }

  const Command* command = FindCommand(argv[optind]);
  if (command == nullptr) return ComplainAboutCommand(argv[optind]);
  if (help) return Print(CommandHelp(*command));
  invocation.arguments.assign(argv + optind + 1, argv + argc);
  if (invocation.arguments.size() != command->argument_count) {
    return ComplainAboutUsage(absl::StrCat("this is written: ebbctl ", UsageLine(*command)),
                              command->name);
  }
  if (invocation.to && !command->takes_to) {
    return ComplainAboutUsage(absl::StrCat(command->name, " takes no --to"), command->name);
  }
  if (invocation.no_wait && !command->takes_no_wait) {
    return ComplainAboutUsage(absl::StrCat(command->name, " takes no --no-wait"), command->name);
  }
  if (invocation.socket_path.empty()) return ComplainAboutUsage("--socket is empty");
  return FlushAndReturn(command->run(invocation));
}

}  // namespace
}  // namespace ebb

int main(int argc, char** argv) { return ebb::Main(argc, argv); }
