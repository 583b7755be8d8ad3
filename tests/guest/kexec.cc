// SPDX-License-Identifier: MIT
#include "tests/guest/kexec.h"

#include <fcntl.h>
#include <linux/reboot.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "hostd/base/unique_fd.h"
#include "tests/guest/machine.h"
#include "tests/guest/report.h"

namespace ebb::guest {

void KexecIfGiven() {
  const UniqueFd kernel(open("/kexec/kernel", O_RDONLY | O_CLOEXEC));
  const UniqueFd initramfs(open("/kexec/initramfs", O_RDONLY | O_CLOEXEC));
  if (!kernel.valid() || !initramfs.valid()) return;
  const std::string command_line = KernelCommandLine();
  if (syscall(SYS_kexec_file_load, kernel.get(), initramfs.get(), command_line.size() + 1,
              command_line.c_str(), 0) != 0) {
    FailErrno("cannot load the kernel for kexec");
  }
  reboot(LINUX_REBOOT_CMD_KEXEC);
  FailErrno("cannot boot the kernel that was loaded for kexec");
}

}  // namespace ebb::guest
