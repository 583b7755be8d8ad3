// SPDX-License-Identifier: MIT
#include "hostd/os/host_ids.h"

#include <sys/random.h>

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "hostd/base/wait_checks.h"
#include "hostd/os/os_result.h"
#include "hostd/os/process.h"

namespace ebb {

absl::StatusOr<Id128> BootId() {
  constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  const std::string text = ReadFile(kPath).value_or("");
  const std::string digits = absl::StrReplaceAll(text, {{"-", ""}, {"\n", ""}});
  Id128 id;
  if (digits.size() != 2 * id.size() ||
      digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return absl::UnavailableError(std::string(kPath) +
                                  " does not say which boot this is: is /proc mounted?");
  }
  const std::string bytes = absl::HexStringToBytes(digits);
  for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(bytes[i]);
  return id;
}

absl::StatusOr<Id128> NewRandomId() {
  Id128 id;
  MayWait("for the kernel's random numbers");
  if (getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return ErrnoStatus("getrandom");
  }
  return id;
}

}  // namespace ebb
