// SPDX-License-Identifier: MIT
// What the control API's JSON looks like to a person. Fields that are missing count as 0 or "".
#pragma once

#include <cstdint>
#include <string>

#include "nlohmann/json.hpp"

namespace ebb {

using Json = nlohmann::ordered_json;

// One field of `json`. Text has control characters replaced: it may come from a guest's QEMU and
// goes to a terminal.
uint64_t NumberField(const Json& json, const char* field);
double RealField(const Json& json, const char* field);
std::string TextField(const Json& json, const char* field);

// The VMs in the answer of /v1/vms.
const Json& VmsOf(const Json& vms);

// `host` is the answer of /v1/status, `vms` that of /v1/vms.
std::string StatusView(const Json& host, const Json& vms);
std::string ListView(const Json& vms);
std::string VmView(const Json& vm);

// Whether the plan for the host's budget leaves the VM less than its limit does.
bool IsHeldByBudget(const Json& vm);

// "256.0 MiB resident, 712.3 MiB swapped out".
std::string MemoryInOneLine(const Json& vm);

}  // namespace ebb
