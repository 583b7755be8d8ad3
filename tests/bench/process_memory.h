// SPDX-License-Identifier: MIT
// What the kernel says of this process's memory, so that no count of our own has to be believed.
#pragma once

#include <cstdint>
#include <string>

namespace ebb::bench {

// Memory of the heap and of stacks.
uint64_t AnonymousBytes();

// Page tables, which the kernel keeps for what is mapped.
uint64_t PageTableBytes();

// Memory of the memfds with this name that are open here; see SharedMemory::Create.
uint64_t MemfdBytes(const std::string& name);

}  // namespace ebb::bench
