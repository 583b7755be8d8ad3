// SPDX-License-Identifier: MIT
// Ebb asks of QEMU what QEMU promises nowhere: that a QMP transaction without actions drains its
// disks, above all. So only versions in the range that was tested are served, unless the user says
// otherwise.
//
// QEMU reads `int qemu_plugin_version` right after dlopen and refuses a plugin whose number is not
// in the range of plugin API versions it supports. No constant fits all: 7.2 takes 0..1, 10.0
// takes 2..4, 11.1 takes 7..7. So a constructor asks the QEMU it is in and picks a number. No call
// of that API is made, so that the number has no other meaning to us.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ebb::plugin {

struct QemuVersion {
  int major = 0;
  int minor = 0;
  int micro = 0;

  bool known() const { return major > 0; }
  uint32_t packed() const {
    return known() ? static_cast<uint32_t>(major << 16 | minor << 8 | micro) : 0;
  }
};

// dlsym(RTLD_DEFAULT, ...), except in tests.
using SymbolLookup = void* (*)(const char* name);

// What QEMU says of itself; not known() where the build does not export qmp_query_version.
QemuVersion AskQemuVersion(SymbolLookup lookup);

// False if Ebb was not tested with such a QEMU; `why` then says what is the matter with it.
bool IsTested(const QemuVersion& version, char* why, size_t size);

// A plugin API version that QEMU supports. `override` is $EBB_PLUGIN_API, for a QEMU newer than
// this table; nullptr if unset, and ignored unless it is a number.
int ChoosePluginApi(const QemuVersion& version, SymbolLookup lookup, const char* override);

}  // namespace ebb::plugin
