// SPDX-License-Identifier: MIT
#include "qemu-plugin/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace ebb::plugin {
namespace {

// The message why `arguments` are not taken; empty if they are.
std::string Parse(std::vector<std::string> arguments, Options& options) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  OptionError error;
  return ParseArguments(static_cast<int>(argv.size()), argv.data(), options, error) ? ""
                                                                                    : error.text;
}

std::string WhyNot(const std::vector<std::string>& arguments) {
  Options options;
  return Parse(arguments, options);
}

// Sets a variable and unsets it at the end of the scope.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Options, TakesAllArguments) {
  Options options;
  ASSERT_EQ(Parse({"socket=/run/ebb.sock", "name=web-1.example_2", "qmp=/run/qmp", "mode=required"},
                  options),
            "");
  EXPECT_STREQ(options.socket_path, "/run/ebb.sock");
  EXPECT_STREQ(options.vm_name, "web-1.example_2");
  EXPECT_STREQ(options.qmp_path, "/run/qmp");
  EXPECT_EQ(options.mode, Mode::kRequired);
}

TEST(Options, OnlySocketIsNeeded) {
  Options options;
  ASSERT_EQ(Parse({"socket=/s"}, options), "");
  EXPECT_STREQ(options.vm_name, "");
  EXPECT_STREQ(options.qmp_path, "");
  EXPECT_EQ(options.mode, Mode::kOptional);
  EXPECT_EQ(WhyNot({}), "socket=PATH is missing");
  EXPECT_EQ(WhyNot({"name=web"}), "socket=PATH is missing");
}

TEST(Options, RefusesUnknownArguments) {
  const std::string known = " (known: socket=, name=, qmp=, mode=, qemu=)";
  EXPECT_EQ(WhyNot({"socket=/s", "swap=on"}), "unknown argument 'swap=on'" + known);
  EXPECT_EQ(WhyNot({"socket"}), "unknown argument 'socket'" + known);
  EXPECT_EQ(WhyNot({""}), "unknown argument ''" + known);
}

TEST(Options, RefusesPathsThatDoNotWork) {
  EXPECT_EQ(WhyNot({"socket=ebbd.sock"}), "socket: 'ebbd.sock' is not an absolute path");
  EXPECT_EQ(WhyNot({"socket="}), "socket: '' is not an absolute path");
  EXPECT_EQ(WhyNot({"socket=/s", "qmp=q"}), "qmp: 'q' is not an absolute path");
  EXPECT_EQ(WhyNot({"socket=/" + std::string(106, 'x')}), "");
  EXPECT_EQ(WhyNot({"socket=/" + std::string(107, 'x')}),
            "socket: the path is longer than 107 bytes");
}

TEST(Options, RefusesNamesThatDoNotFit) {
  EXPECT_EQ(WhyNot({"socket=/s", "name="}), "name: the name is empty");
  EXPECT_EQ(WhyNot({"socket=/s", "name=" + std::string(63, 'x')}), "");
  EXPECT_EQ(WhyNot({"socket=/s", "name=" + std::string(64, 'x')}),
            "name: the name is longer than 63 bytes");
}

TEST(Options, RefusesOtherModes) {
  EXPECT_EQ(WhyNot({"socket=/s", "mode=on"}), "mode: 'on' is neither optional nor required");
  EXPECT_EQ(WhyNot({"socket=/s", "mode=optional"}), "");
}

TEST(Options, KnowsNoQemuButAny) {
  Options options;
  EXPECT_FALSE(options.any_qemu);
  EXPECT_EQ(Parse({"socket=/s", "qemu=any"}, options), "");
  EXPECT_TRUE(options.any_qemu);
  EXPECT_EQ(WhyNot({"socket=/s", "qemu=11.2"}), "qemu: '11.2' is not 'any'");
}

TEST(Options, ReplacesOddCharactersInNames) {
  Options options;
  ASSERT_EQ(Parse({"socket=/s", "name=a b/c\xc3\xa4:Z9"}, options), "");
  EXPECT_STREQ(options.vm_name, "a_b_c___Z9");
}

TEST(Options, TakesTheEnvironment) {
  Variable socket("EBB_SOCKET", "/run/ebb.sock"), name("EBB_NAME", "w b"), qmp("EBB_QMP", "/q"),
      mode("EBB_MODE", "required"), qemu("EBB_QEMU", "any");
  Options options;
  OptionError error;
  ASSERT_TRUE(ParseEnvironment(options, error)) << error.text;
  EXPECT_STREQ(options.socket_path, "/run/ebb.sock");
  EXPECT_STREQ(options.vm_name, "w_b");
  EXPECT_STREQ(options.qmp_path, "/q");
  EXPECT_EQ(options.mode, Mode::kRequired);
  EXPECT_TRUE(options.any_qemu);
}

TEST(Options, SaysWhichVariableIsWrong) {
  Options options;
  OptionError error;
  EXPECT_FALSE(ParseEnvironment(options, error));
  EXPECT_STREQ(error.text, "EBB_SOCKET is missing");
  Variable socket("EBB_SOCKET", "/s"), mode("EBB_MODE", "maybe");
  EXPECT_FALSE(ParseEnvironment(options, error));
  EXPECT_STREQ(error.text, "EBB_MODE: 'maybe' is neither optional nor required");
}

TEST(Options, ModeIsTakenWhateverIsWrongWithTheRest) {
  Options options;
  OptionError error;
  Variable socket("EBB_SOCKET", "not absolute"), mode("EBB_MODE", "required");
  EXPECT_FALSE(ParseEnvironment(options, error));
  EXPECT_EQ(options.mode, Mode::kRequired);
}

TEST(Options, NameOfProcessIsTheLastResort) {
  Options options;
  FillVmName("/nonexistent", options);
  EXPECT_EQ(options.vm_name, "qemu-" + std::to_string(getpid()));
}

TEST(Options, ChosenNameStays) {
  Options options;
  ASSERT_EQ(Parse({"socket=/s", "name=web"}, options), "");
  FillVmName("/nonexistent", options);
  EXPECT_STREQ(options.vm_name, "web");
}

}  // namespace
}  // namespace ebb::plugin
