// SPDX-License-Identifier: MIT
#include "qemu-plugin/preload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace ebb::plugin {

const char* BaseName(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

bool IsQemu(const char* executable_path) {
  static constexpr char kDeleted[] = " (deleted)";
  char name[64] = {};
  strncat(name, BaseName(executable_path), sizeof name - 1);
  const size_t length = strlen(name);
  const size_t suffix = strlen(kDeleted);
  if (length > suffix && strcmp(name + length - suffix, kDeleted) == 0) {
    name[length - suffix] = '\0';
  }
  return strncmp(name, "qemu-system-", 12) == 0 || strcmp(name, "qemu-kvm") == 0 ||
         strcmp(name, "kvm") == 0;
}

bool RunsInQemu() {
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return IsQemu(path);
}

bool RemoveFromPreloadList(const char* list, const char* file_name, char* out, size_t size) {
  static constexpr char kSeparators[] = " :";  // as ld.so(8)
  size_t used = 0;
  out[0] = '\0';
  for (list += strspn(list, kSeparators); *list != '\0'; list += strspn(list, kSeparators)) {
    const char* entry = list;
    const size_t length = strcspn(entry, kSeparators);
    list += length;
    size_t base = length;
    while (base > 0 && entry[base - 1] != '/') --base;
    if (length - base == strlen(file_name) && memcmp(entry + base, file_name, length - base) == 0) {
      continue;
    }
    if (used + length + 2 > size) return false;
    if (used > 0) out[used++] = ':';
    memcpy(out + used, entry, length);
    used += length;
    out[used] = '\0';
  }
  return true;
}

void LeavePreloadList(const char* library_path) {
  const char* list = getenv("LD_PRELOAD");
  char rest[4096];
  if (list == nullptr) return;
  if (!RemoveFromPreloadList(list, BaseName(library_path), rest, sizeof rest)) return;
  if (rest[0] == '\0') {
    unsetenv("LD_PRELOAD");
  } else {
    setenv("LD_PRELOAD", rest, 1);
  }
}

}  // namespace ebb::plugin
