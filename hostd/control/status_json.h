// SPDX-License-Identifier: MIT
// VmStatus, HostStatus and TierStatus as the control API shows them: one JSON field per struct
// field, with the same name, in the same order. Events too, but for their time and kind, which are
// text there.
#pragma once

#include <string>

#include "hostd/vm/host.h"
#include "nlohmann/json_fwd.hpp"

namespace ebb {

nlohmann::ordered_json ToJson(const VmStatus& vm);
nlohmann::ordered_json ToJson(const HostStatus& host);
nlohmann::ordered_json ToJson(const TierStatus& tier);
nlohmann::ordered_json ToJson(const EventBatch& batch);

// One line of text. Bytes that are not UTF-8 (a name or a reason may come from elsewhere) become
// U+FFFD instead of an exception.
std::string Serialize(const nlohmann::ordered_json& json);

}  // namespace ebb
