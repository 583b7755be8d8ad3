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

enum Option { kSocket = 256, kJson, kTo, kNoWait, kOutput, kFollow, kHelp, kVersion };

constexpr option kOptions[] = {
    {"socket", required_argument, nullptr, kSocket},
    {"json", no_argument, nullptr, kJson},
    {"to", required_argument, nullptr, kTo},
    {"no-wait", no_argument, nullptr, kNoWait},
    {"output", required_argument, nullptr, kOutput},
    {"follow", no_argument, nullptr, kFollow},
    {"help", no_argument, nullptr, kHelp},
    {"version", no_argument, nullptr, kVersion},
    {nullptr, 0, nullptr, 0},
};

std::string UsageLine(const Command& command) {
  std::string text = command.name;
  if (command.arguments[0] != '\0') absl::StrAppend(&text, " ", command.arguments);
  if ((command.options & kTakesNoWait) != 0) text += " [--no-wait]";
  if ((command.options & kTakesOutput) != 0) text += " [--output FILE]";
  if ((command.options & kTakesFollow) != 0) text += " [-f]";
  return text;
}

// `taken`: bits of CommandOption.
std::string OptionsHelp(unsigned taken) {
  Table options({Align::kLeft, Align::kLeft});
  const auto add = [&](CommandOption bit, const char* written, const char* help) {
    if ((taken & bit) != 0) options.AddRow({written, help});
  };
  add(kTakesTo, "--to SIZE", "what may stay resident");
  add(kTakesNoWait, "--no-wait", "return at once; ebbd goes on by itself");
  add(kTakesOutput, "--output FILE", "write to FILE, which is replaced as a whole");
  add(kTakesFollow, "-f, --follow", "go on with what happens, until Ctrl-C");
  if ((taken & kTakesNoJson) == 0) {
    options.AddRow({"--json", "print the control API's JSON instead of text"});
  }
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
      "Commands:\n", commands.ToString("  "), "\n", OptionsHelp(0), "\n", kSizeHelp,
      "\nExit statuses:\n"
      "  0    done\n"
      "  1    ebbd refused or failed, or the output could not be written\n"
      "  2    wrong usage\n"
      "  3    ebbd cannot be reached\n"
      "  130  Ctrl-C while waiting; what was asked for goes on in ebbd\n");
}

std::string CommandHelp(const Command& command) {
  const bool takes_size = std::strstr(command.arguments, "SIZE") != nullptr;
  return absl::StrCat("Usage: ebbctl ", UsageLine(command), " [OPTIONS]\n\n", command.help, "\n",
                      OptionsHelp(command.options), takes_size ? "\n" : "",
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

// The options of a command line.
struct Options {
  Invocation invocation;
  bool help = false;
  bool version = false;
};

// False when they make no sense, which has been said then.
bool ParseOptions(int argc, char** argv, Options* options) {
  Invocation& invocation = options->invocation;
  int option;
  while ((option = getopt_long(argc, argv, "fhV", kOptions, nullptr)) != -1) {
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
      case kOutput:
        invocation.output = optarg;
        break;
      case 'f':
      case kFollow:
        invocation.follow = true;
        break;
      case 'h':
      case kHelp:
        options->help = true;
        break;
      case 'V':
      case kVersion:
        options->version = true;
        break;
      default:  // getopt_long has said what is wrong
        std::fputs("See: ebbctl --help\n", stderr);
        return false;
    }
  }
  return true;
}

// The first option that was given to a command that does not take it.
const char* OptionNotTaken(const Invocation& invocation, const Command& command) {
  if (invocation.to && (command.options & kTakesTo) == 0) return "--to";
  if (invocation.no_wait && (command.options & kTakesNoWait) == 0) return "--no-wait";
  if (invocation.output && (command.options & kTakesOutput) == 0) return "--output";
  if (invocation.follow && (command.options & kTakesFollow) == 0) return "--follow";
  if (invocation.json && (command.options & kTakesNoJson) != 0) return "--json";
  return nullptr;
}

int Main(int argc, char** argv) {
  if (argc < 1) return kExitUsage;
  char name[] = "ebbctl";  // for getopt_long's messages, however we were called
  argv[0] = name;
  Options options;
  Invocation& invocation = options.invocation;
  const char* from_environment = std::getenv(kSocketVariable);
  const bool is_set = from_environment != nullptr && from_environment[0] != '\0';
  invocation.socket_path = is_set ? from_environment : kDefaultSocket;
  if (!ParseOptions(argc, argv, &options)) return kExitUsage;
  if (options.version) return Print("ebbctl " EBB_VERSION "\n");
  bool help = options.help;
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
  if (const char* option = OptionNotTaken(invocation, *command); option != nullptr) {
    return ComplainAboutUsage(absl::StrCat(command->name, " takes no ", option), command->name);
  }
  if (invocation.socket_path.empty()) return ComplainAboutUsage("--socket is empty");
  if (invocation.output && invocation.output->empty()) {
    return ComplainAboutUsage("--output is empty");
  }
  return FlushAndReturn(command->run(invocation));
}

}  // namespace
}  // namespace ebb

int main(int argc, char** argv) { return ebb::Main(argc, argv); }
