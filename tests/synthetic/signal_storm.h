// SPDX-License-Identifier: MIT
#pragma once

namespace ebb::synthetic {

class Crew;

// Sends a signal with an empty handler to the crew's threads, one after the other, for as long as
// the process lives: each ends a wait for a page, and the thread faults again.
void StartSignalStorm(const Crew* crew);

}  // namespace ebb::synthetic
