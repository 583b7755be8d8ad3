// SPDX-License-Identifier: MIT
#include "qemu-plugin/qemu_version.h"

#include <stdio.h>
#include <stdlib.h>

// A test builds a library to which every QEMU is too new.
#ifndef EBB_NEWEST_QEMU
#define EBB_NEWEST_QEMU 11, 1
#endif

namespace ebb::plugin {
namespace {

// The head of QAPI's VersionInfo, the same since QEMU 2.x: {"qemu": {"major", "minor", "micro"}}.
struct VersionTriple {
  int64_t major;
  int64_t minor;
  int64_t micro;
};
struct VersionInfo {
  VersionTriple* qemu;
};

// Of a release the micro version does not matter, but from 50 on it is the next one in the making.
constexpr int kMicroOfTheNext = 50;
struct Release {
  int major;
  int minor;

  bool operator<(const Release& other) const {
    return major != other.major ? major < other.major : minor < other.minor;
  }
};
constexpr Release kOldestTested = {7, 2};
constexpr Release kNewestTested = {EBB_NEWEST_QEMU};

// From where on a plugin API version is supported, newest first. Each is the highest that its
// QEMU knows, or one that all up to the next line still know.
struct ApiSince {
  int major;
  int minor;
  int api;
};
constexpr ApiSince kApiSince[] = {{11, 1, 7}, {10, 2, 6}, {10, 1, 5}, {9, 0, 2}, {0, 0, 1}};

bool IsPlausible(const VersionTriple& triple) {
  return triple.major > 0 && triple.major < 1000 && triple.minor >= 0 && triple.minor < 256 &&
         triple.micro >= 0 && triple.micro < 256;
}

}  // namespace

QemuVersion AskQemuVersion(SymbolLookup lookup) {
  using Query = VersionInfo* (*)(void** error);
  using Free = void (*)(VersionInfo*);
  Query query = reinterpret_cast<Query>(lookup("qmp_query_version"));
  VersionInfo* info = query != nullptr ? query(nullptr) : nullptr;
  if (info == nullptr) return {};

  QemuVersion version;
  if (info->qemu != nullptr && IsPlausible(*info->qemu)) {
    version = {.major = static_cast<int>(info->qemu->major),
               .minor = static_cast<int>(info->qemu->minor),
               .micro = static_cast<int>(info->qemu->micro)};
  }
  if (Free free_info = reinterpret_cast<Free>(lookup("qapi_free_VersionInfo"))) free_info(info);
  return version;
}

bool IsTested(const QemuVersion& version, char* why, size_t size) {
  const Release release = {version.major, version.minor + (version.micro >= kMicroOfTheNext)};
  if (!version.known()) {
    snprintf(why, size,
             "this QEMU does not tell its version, and Ebb is tested with %d.%d to %d.%d",
             kOldestTested.major, kOldestTested.minor, kNewestTested.major, kNewestTested.minor);
  } else if (kNewestTested < release) {
    snprintf(why, size, "QEMU %d.%d.%d is newer than %d.%d, the newest that Ebb is tested with",
             version.major, version.minor, version.micro, kNewestTested.major, kNewestTested.minor);
  } else if (release < kOldestTested) {
    snprintf(why, size, "QEMU %d.%d.%d is older than %d.%d, the oldest that Ebb is tested with",
             version.major, version.minor, version.micro, kOldestTested.major, kOldestTested.minor);
  } else {
    return true;
  }
  return false;
}

int ChoosePluginApi(const QemuVersion& version, SymbolLookup lookup, const char* override) {
  if (override != nullptr && *override != '\0') {
    char* end;
    long api = strtol(override, &end, 10);
    if (*end == '\0' && api >= 0 && api < 1000) return static_cast<int>(api);
  }
  if (version.known()) {
    for (const ApiSince& since : kApiSince) {
      if (version.major > since.major ||
          (version.major == since.major && version.minor >= since.minor)) {
        return since.api;
      }
    }
  }
  // A build without modules exports the plugin API and nothing else.
  if (lookup("qemu_plugin_register_vcpu_discon_cb") != nullptr) return 6;
  if (lookup("qemu_plugin_num_vcpus") != nullptr) return 2;
  return 1;
}

}  // namespace ebb::plugin
