#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""metrics_document_test.py BUILD: docs/METRICS.md says what `ebbctl metrics` writes, and nothing
else."""

import re
import sys
from pathlib import Path

import metrics
from fake_ebbd import FakeEbbd
from options import REPOSITORY
from tap import Tap

PAGE = REPOSITORY / "docs/METRICS.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)


def table() -> dict[str, tuple[str, set[str]]]:
    """Type and labels, by name."""
    return {name: (kind, set(re.findall(r"`(\w+)`", labels)))
            for name, kind, labels, _ in ROW.findall(PAGE.read_text())}


def values_in(page: str, label: str, name: str) -> set[str]:
    """What `label` can be, in the row of `name`."""
    rows = [row for row in page.splitlines() if row.startswith(f"| `{name}` |")]
    lists = [values for row in rows for values in re.findall(rf"`{label}` \(([^)]*)\)", row)]
    return {value for values in lists for value in values.split(", ")}


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    tap = Tap()
    with FakeEbbd(build) as ebbd:
        written = metrics.parse(metrics.ask(build / "hostd/ctl/ebbctl", ebbd.control_socket))
    documented = table()
    tap.check(len(documented) > 20, "the table is found")
    for name in sorted(written.keys() | documented.keys()):
        if name not in documented or name not in written:
            tap.check(False, f"{name} is in {PAGE.name if name in documented else 'the output'} "
                             "only")
            continue
        labels = {label for sample in written[name].samples for label in sample.labels}
        tap.check(documented[name] == (written[name].type, labels),
                  f"{name} is a {written[name].type} with {sorted(labels)}")
    page = PAGE.read_text()
    for label in ("state", "where", "kind", "percentile", "tier", "barrier"):
        having = {name: metric for name, metric in written.items()
                  if any(label in sample.labels for sample in metric.samples)}
        for name, metric in having.items():
            found = {sample.labels[label] for sample in metric.samples}
            tap.check(values_in(page, label, name) == found, f"{name}: {label} is {sorted(found)}")
    tap.check(not metrics.places_that_do_not_add_up(written), "memory adds up for every VM")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
