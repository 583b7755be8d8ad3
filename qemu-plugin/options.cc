// SPDX-License-Identifier: MIT
#include "qemu-plugin/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qemu-plugin/command_line.h"

namespace ebb::plugin {
namespace {

__attribute__((format(printf, 2, 3))) bool Fail(OptionError& error, const char* format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(error.text, sizeof error.text, format, values);
  va_end(values);
  return false;
}

bool SetPath(const char* key, const char* value, char (&path)[wire::kPathBytes],
             OptionError& error) {
  if (value[0] != '/') return Fail(error, "%s: '%s' is not an absolute path", key, value);
  if (strlen(value) >= sizeof path) {
    return Fail(error, "%s: the path is longer than %zu bytes", key, sizeof path - 1);
  }
  strcpy(path, value);
  return true;
}

// Unit names, paths and metrics labels are made of VM names.
void ReplaceOddCharacters(char* name) {
  for (; *name != '\0'; ++name) {
    char c = *name;
    bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                 c == '_' || c == '.' || c == '-';
    if (!plain) *name = '_';
  }
}

bool SetName(const char* key, const char* value, Options& options, OptionError& error) {
  if (value[0] == '\0') return Fail(error, "%s: the name is empty", key);
  if (strlen(value) >= sizeof options.vm_name) {
    return Fail(error, "%s: the name is longer than %zu bytes", key, sizeof options.vm_name - 1);
  }
  strcpy(options.vm_name, value);
  ReplaceOddCharacters(options.vm_name);
  return true;
}

bool SetMode(const char* key, const char* value, Mode& mode, OptionError& error) {
  if (strcmp(value, "optional") == 0) {
    mode = Mode::kOptional;
  } else if (strcmp(value, "required") == 0) {
    mode = Mode::kRequired;
  } else {
    return Fail(error, "%s: '%s' is neither optional nor required", key, value);
  }
  return true;
}

bool SetQemu(const char* key, const char* value, Options& options, OptionError& error) {
  if (strcmp(value, "any") != 0) return Fail(error, "%s: '%s' is not 'any'", key, value);
  options.any_qemu = true;
  return true;
}

}  // namespace

bool ParseArguments(int argc, char** argv, Options& options, OptionError& error) {
  for (int i = 0; i < argc; ++i) {
    const char* argument = argv[i];
    bool ok;
    if (strncmp(argument, "socket=", 7) == 0) {
      ok = SetPath("socket", argument + 7, options.socket_path, error);
    } else if (strncmp(argument, "qmp=", 4) == 0) {
      ok = SetPath("qmp", argument + 4, options.qmp_path, error);
    } else if (strncmp(argument, "name=", 5) == 0) {
      ok = SetName("name", argument + 5, options, error);
    } else if (strncmp(argument, "mode=", 5) == 0) {
      ok = SetMode("mode", argument + 5, options.mode, error);
    } else if (strncmp(argument, "qemu=", 5) == 0) {
      ok = SetQemu("qemu", argument + 5, options, error);
    } else {
      return Fail(error, "unknown argument '%s' (known: socket=, name=, qmp=, mode=, qemu=)",
                  argument);
    }
    if (!ok) return false;
  }
  if (options.socket_path[0] == '\0') return Fail(error, "socket=PATH is missing");
  return true;
}

bool ParseEnvironment(Options& options, OptionError& error) {
  const char* mode = getenv("EBB_MODE");
  if (mode && !SetMode("EBB_MODE", mode, options.mode, error)) return false;
  const char* socket_path = getenv("EBB_SOCKET");
  if (socket_path == nullptr) return Fail(error, "EBB_SOCKET is missing");
  if (!SetPath("EBB_SOCKET", socket_path, options.socket_path, error)) return false;
  const char* qmp_path = getenv("EBB_QMP");
  if (qmp_path && !SetPath("EBB_QMP", qmp_path, options.qmp_path, error)) return false;
  const char* name = getenv("EBB_NAME");
  if (name && !SetName("EBB_NAME", name, options, error)) return false;
  const char* qemu = getenv("EBB_QEMU");
  return qemu == nullptr || SetQemu("EBB_QEMU", qemu, options, error);
}

void FillVmName(const char* command_line_path, Options& options) {
  if (options.vm_name[0] != '\0') return;
  if (!NameFromCommandLine(command_line_path, options.vm_name, sizeof options.vm_name)) {
    snprintf(options.vm_name, sizeof options.vm_name, "qemu-%d", static_cast<int>(getpid()));
  }
  ReplaceOddCharacters(options.vm_name);
}

}  // namespace ebb::plugin
