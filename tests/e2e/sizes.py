# SPDX-License-Identifier: MIT
"""Sizes as people write and read them."""

import argparse
import re

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


def parse_size(text: str) -> int:
    """1G, 256M, or plain bytes; whole MiB only. For argparse."""
    found = re.fullmatch(r"(\d+)([KMG]?)(?:iB|B)?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size: write it like 256M or 1G")
    unit = {"": 1, "K": KIB, "M": MIB, "G": GIB}[found.group(2).upper()]
    size = int(found.group(1)) * unit
    if size == 0 or size % MIB:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of MiB: write it like "
                                         "256M or 1G")
    return size


def mib(size: float) -> str:
    return f"{size / MIB:,.0f} MiB"


def gib(size: float) -> str:
    """For amounts that grow while one watches."""
    return mib(size) if size < GIB else f"{size / GIB:.2f} GiB"


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
