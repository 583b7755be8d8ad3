// SPDX-License-Identifier: MIT
// The guest's /init. It prepares what the workload needs and runs it.
#include "tests/guest/machine.h"
#include "tests/guest/parameters.h"
#include "tests/guest/power_button.h"
#include "tests/guest/report.h"
#include "tests/guest/workload.h"

namespace ebb::guest {
namespace {

void RunChild() {
  const Parameters parameters = ParseParameters(KernelCommandLine());
  if (parameters.probe) {
    ReportProbe();
    return;
  }
  LoadModules();
  ObeyPowerButton();
  RunWorkload(parameters);
}

}  // namespace
}  // namespace ebb::guest

int main() { ebb::guest::RunAsInit(ebb::guest::RunChild); }
