# SPDX-License-Identifier: MIT
"""What does not change during a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    ram_bytes: int
    limit_bytes: int
    fill_bytes: int
    end_s: float | None      # None: on Ctrl-C
    accelerator: str         # kvm, tcg
    accelerator_reason: str
    qemu_version: str
    loader: str              # plugin, preload
