// SPDX-License-Identifier: MIT
#include "tests/hostd/os/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace ebb {

LoopDevice::LoopDevice(const std::string& file, uint32_t block_bytes) {
  const UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const UniqueFd content(open(file.c_str(), O_RDWR | O_CLOEXEC));
  loop_config config = {};
  config.fd = static_cast<__u32>(content.get());
  config.block_size = block_bytes;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  // Another process may take the same free one first.
  for (int tries = 0; tries < 100; ++tries) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) break;
    const std::string path = "/dev/loop" + std::to_string(number);
    device_ = UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0) {
      path_ = path;
      return;
    }
    if (errno != EBUSY) break;
  }
  why_ = std::string("no loop device here: ") + std::strerror(errno);
  device_.Reset();
}

}  // namespace ebb
