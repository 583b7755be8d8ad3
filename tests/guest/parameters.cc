// SPDX-License-Identifier: MIT
#include "tests/guest/parameters.h"

#include <charconv>
#include <cstddef>
#include <string>

#include "tests/guest/report.h"

namespace ebb::guest {
namespace {

constexpr std::string_view kPrefix = "ebb.";
constexpr uint64_t kMaxDisks = 26;  // their names end in one letter

uint64_t ParseNumber(std::string_view name, std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    Fail("ebb." + std::string(name) + " is not a number: '" + std::string(text) + "'");
  }
  return value;
}

void Set(Parameters& parameters, std::string_view name, std::string_view text) {
  const uint64_t value = ParseNumber(name, text);
  if (name == "probe") {
    parameters.probe = value != 0;
  } else if (name == "seed") {
    parameters.seed = value;
  } else if (name == "fill_mib") {
    parameters.fill_mib = value;
  } else if (name == "churn_mib") {
    parameters.churn_mib = value;
  } else if (name == "churn_s") {
    parameters.churn_s = value;
  } else if (name == "disks") {
    parameters.disks = value;
  } else if (name == "disk_mib") {
    parameters.disk_mib = value;
  } else if (name == "hot_mib") {
    parameters.hot_mib = value;
  } else if (name == "fill_mib_s") {
    parameters.fill_mib_s = value;
  } else if (name == "sweep_mib_s") {
    parameters.sweep_mib_s = value;
  } else if (name == "disk_mib_s") {
    parameters.disk_mib_s = value;
  } else if (name == "hot_mib_s") {
    parameters.hot_mib_s = value;
  } else {
    Fail("unknown parameter ebb." + std::string(name));
  }
}

void Check(const Parameters& parameters) {
  if (parameters.hot_mib == 0 || parameters.hot_mib >= parameters.fill_mib) {
    Fail("ebb.hot_mib must be at least 1 and less than ebb.fill_mib");
  }
  for (uint64_t rate : {parameters.fill_mib_s, parameters.sweep_mib_s, parameters.disk_mib_s,
                        parameters.hot_mib_s}) {
    if (rate == 0) Fail("rates, ebb.*_mib_s, must be at least 1");
  }
  if (parameters.disks > kMaxDisks) Fail("ebb.disks must be at most 26");
  if (parameters.disks > 0 && parameters.disk_mib == 0) Fail("ebb.disk_mib must be at least 1");
}

}  // namespace

Parameters ParseParameters(std::string_view command_line) {
  Parameters parameters;
  size_t begin = 0;
  while (begin < command_line.size()) {
    size_t end = command_line.find_first_of(" \n", begin);
    if (end == std::string_view::npos) end = command_line.size();
    std::string_view word = command_line.substr(begin, end - begin);
    const size_t equals = word.find('=');
    if (word.starts_with(kPrefix) && equals != std::string_view::npos) {
      Set(parameters, word.substr(kPrefix.size(), equals - kPrefix.size()),
          word.substr(equals + 1));
    }
    begin = end + 1;
  }
  Check(parameters);
  return parameters;
}

}  // namespace ebb::guest
