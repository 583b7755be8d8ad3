// SPDX-License-Identifier: MIT
#include "tests/guest/power_button.h"

#include <fcntl.h>
#include <linux/input.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "hostd/base/unique_fd.h"

namespace ebb::guest {
namespace {

constexpr int kInputDevices = 8;

// By its name: a keyboard has the key, too, and nobody presses it there.
bool IsPowerButton(int device) {
  std::array<char, 64> name{};
  return ioctl(device, EVIOCGNAME(name.size() - 1), name.data()) > 0 &&
         std::string_view(name.data()) == "Power Button";
}

UniqueFd FindPowerButton() {
  for (int number = 0; number < kInputDevices; ++number) {
    const std::string path = "/dev/input/event" + std::to_string(number);
    UniqueFd device(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (device.valid() && IsPowerButton(device.get())) return device;
  }
  return UniqueFd();
}

void AwaitPress(int button) {
  input_event event{};
  while (read(button, &event, sizeof event) == sizeof event) {
    if (event.type == EV_KEY && event.code == KEY_POWER && event.value != 0) _exit(EXIT_SUCCESS);
  }
}

}  // namespace

void ObeyPowerButton() {
  UniqueFd button = FindPowerButton();
  if (!button.valid()) return;
  std::thread([button = std::move(button)] { AwaitPress(button.get()); }).detach();
}

}  // namespace ebb::guest
