// SPDX-License-Identifier: MIT
#include "tests/hammer/cpus.h"

#include <sched.h>
#include <unistd.h>

namespace ebb::hammer {
namespace {

// The first `most` CPUs of those the process's first thread may run on, without the first
// `skipped`. The calling thread may have been kept from some of them before.
void StayOn(size_t skipped, size_t most) {
  cpu_set_t allowed;
  if (sched_getaffinity(getpid(), sizeof allowed, &allowed) != 0) return;
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  size_t seen = 0;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (seen >= skipped && seen < skipped + most) CPU_SET(cpu, &chosen);
    ++seen;
  }
  // With one CPU nothing needs to be chosen.
  if (CPU_COUNT(&chosen) > 0) sched_setaffinity(0, sizeof chosen, &chosen);
}

}  // namespace

void StayOnFewCpus() { StayOn(0, kCpus); }
void StayOnCpu(size_t number) { StayOn(number, 1); }

}  // namespace ebb::hammer
