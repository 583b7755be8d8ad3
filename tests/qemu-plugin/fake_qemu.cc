// SPDX-License-Identifier: MIT
// As much of QEMU as the library sees: 1 MiB of "guest RAM" in a memfd with QEMU's name for it,
// a loader of plugins, and what it says of its version.
//
//   fake_qemu LIBRARY ARGUMENT...     loads LIBRARY as -plugin would
//   fake_qemu                         loads nothing: LD_PRELOAD did, or did not
//
// Says "started" once the plugin is installed, or exits with 1. Then obeys lines on stdin: "read
// OFFSET" touches guest RAM and answers "byte VALUE"; "preload" answers with LD_PRELOAD as a
// program started now would get it. Ends with stdin.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct FakeVersion {
  int64_t numbers[3];
};
struct FakeVersionInfo {
  FakeVersion* qemu;
};

extern "C" FakeVersionInfo* qmp_query_version(void** error);

FakeVersionInfo* qmp_query_version(void**) {
  static FakeVersion version = {{7, 2, 22}};
  static FakeVersionInfo info = {&version};
  return &info;
}

namespace {

constexpr size_t kRamBytes = 1 << 20;

volatile uint8_t* MapGuestRam() {
  int memfd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
  if (memfd < 0 || ftruncate(memfd, kRamBytes) != 0) return nullptr;
  void* ram = mmap(nullptr, kRamBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  if (ram == MAP_FAILED) return nullptr;
  memset(ram, 0x5a, kRamBytes);
  return static_cast<uint8_t*>(ram);
}

bool LoadPlugin(int argc, char** argv) {
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fprintf(stderr, "%s\n", dlerror());
    return false;
  }
  using Install = int (*)(uint64_t, const void*, int, char**);
  auto install = reinterpret_cast<Install>(dlsym(library, "qemu_plugin_install"));
  return install != nullptr && install(1, nullptr, argc - 2, argv + 2) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  volatile uint8_t* ram = MapGuestRam();
  if (ram == nullptr) return 2;
  if (argc > 1 && !LoadPlugin(argc, argv)) return 1;
  puts("started");
  fflush(stdout);

  char line[64];
  uint64_t offset;
  while (fgets(line, sizeof line, stdin)) {
    if (strcmp(line, "preload\n") == 0) {
      const char* list = getenv("LD_PRELOAD");
      printf("preload %s\n", list != nullptr ? list : "(unset)");
    } else if (sscanf(line, "read %" SCNu64, &offset) == 1 && offset < kRamBytes) {
      printf("byte %d\n", ram[offset]);
    } else {
      return 3;
    }
    fflush(stdout);
  }
  return 0;
}
