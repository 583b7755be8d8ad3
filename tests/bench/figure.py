# SPDX-License-Identifier: MIT
"""Figures, beside those of an anchor: what others reach on the same machine with the same data."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Anchor:
    name: str
    value: float


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    anchor: Anchor | None = None

    @property
    def ratio(self) -> float | None:
        """Below 1 where Ebb takes less than the anchor."""
        if self.anchor is None or self.anchor.value == 0:
            return None
        return self.value / self.anchor.value


def as_json(figures: list[Figure]) -> list[dict[str, Any]]:
    return [{
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "anchor": figure.anchor.name if figure.anchor else None,
        "anchor_value": figure.anchor.value if figure.anchor else None,
        "ratio": figure.ratio,
    } for figure in figures]


def _number(value: float | None) -> str:
    """With four digits, or all of those before the point."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def as_table(figures: list[Figure]) -> str:
    rows = [("figure", "value", "unit", "anchor", "anchor value", "ratio")]
    for figure in figures:
        anchor = figure.anchor
        rows.append((figure.name, _number(figure.value), figure.unit,
                     anchor.name if anchor else "-", _number(anchor.value if anchor else None),
                     _number(figure.ratio)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = (1, 4, 5)
    lines = ["  ".join(cell.rjust(width) if column in numbers else cell.ljust(width)
                       for column, (cell, width) in enumerate(zip(row, widths))).rstrip()
             for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
