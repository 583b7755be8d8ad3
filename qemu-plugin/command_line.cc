// SPDX-License-Identifier: MIT
#include "qemu-plugin/command_line.h"

#include <string.h>

#include "qemu-plugin/record_reader.h"

namespace ebb::plugin {
namespace {

// Long enough for every argument that is looked into; longer ones are cut.
constexpr size_t kArgumentBytes = 512;

bool IsOption(const char* argument, const char* option) {
  if (argument[0] != '-') return false;
  argument += argument[1] == '-' ? 2 : 1;
  return strcmp(argument, option) == 0;
}

// Copies one comma-separated part; QEMU writes a comma inside a value as ",,". Returns where the
// next part starts, or nullptr after the last.
const char* NextPart(const char* value, char* part, size_t size) {
  size_t length = 0;
  for (; *value != '\0'; ++value) {
    if (value[0] == ',' && value[1] != ',') break;
    if (value[0] == ',') ++value;
    if (length + 1 < size) part[length++] = *value;
  }
  part[length] = '\0';
  return *value == ',' ? value + 1 : nullptr;
}

bool GuestOfNameValue(const char* value, char* name, size_t size) {
  bool found = false;
  bool first = true;
  for (const char* rest = value; rest != nullptr; first = false) {
    char part[kArgumentBytes];
    rest = NextPart(rest, part, sizeof part);
    const char* guest = nullptr;
    if (strncmp(part, "guest=", 6) == 0) guest = part + 6;
    if (first && strchr(part, '=') == nullptr) guest = part;
    if (guest == nullptr || *guest == '\0') continue;
    name[0] = '\0';
    strncat(name, guest, size - 1);
    found = true;
  }
  return found;
}

}  // namespace

bool CommandLineHas(const char* path, const char* option) {
  RecordReader arguments(path, '\0');
  char argument[kArgumentBytes];
  while (arguments.Next(argument, sizeof argument)) {
    if (IsOption(argument, option)) return true;
  }
  return false;
}

bool CommandLineLoadsPlugin(const char* path, const char* file_name) {
  RecordReader arguments(path, '\0');
  char argument[kArgumentBytes];
  while (arguments.Next(argument, sizeof argument)) {
    if (!IsOption(argument, "plugin")) continue;
    if (arguments.Next(argument, sizeof argument) && strstr(argument, file_name)) return true;
  }
  return false;
}

bool NameFromCommandLine(const char* path, char* name, size_t size) {
  RecordReader arguments(path, '\0');
  char argument[kArgumentBytes];
  bool found = false;
  while (arguments.Next(argument, sizeof argument)) {
    if (!IsOption(argument, "name")) continue;
    if (!arguments.Next(argument, sizeof argument)) break;
    found |= GuestOfNameValue(argument, name, size);
  }
  return found;
}

}  // namespace ebb::plugin
