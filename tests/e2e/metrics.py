# SPDX-License-Identifier: MIT
"""What `ebbctl metrics` says, taken apart."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 20
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')


@dataclass(frozen=True)
class Sample:
    labels: dict[str, str]
    value: float


@dataclass
class Metric:
    type: str
    help: str
    samples: list[Sample] = field(default_factory=list)


class MetricsError(Exception):
    """ebbctl failed, or said something else."""


def ask(ebbctl: Path, control_socket: Path) -> str:
    done = subprocess.run([str(ebbctl), "--socket", str(control_socket), "metrics"],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise MetricsError(f"ebbctl metrics: {done.stderr.strip()}")
    return done.stdout


def parse(text: str) -> dict[str, Metric]:
    """By name. What is not as ebbctl writes it is an error: promtool knows the whole format."""
    metrics: dict[str, Metric] = {}
    help_of: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.removeprefix("# ").partition(" ")
        name, _, said = rest.partition(" ")
        if line.startswith("# HELP "):
            help_of[name] = said
        elif line.startswith("# TYPE "):
            if name in metrics or name not in help_of:
                raise MetricsError(f"twice, or before its help: {line}")
            metrics[name] = Metric(said, help_of[name])
        else:
            found = _SAMPLE.fullmatch(line)
            if not found or found.group(1) not in metrics:
                raise MetricsError(f"not a sample of a metric: {line}")
            labels = dict(_LABEL.findall(found.group(2) or ""))
            metrics[found.group(1)].samples.append(Sample(labels, float(found.group(3))))
    return metrics


def places_that_do_not_add_up(metrics: dict[str, Metric]) -> list[str]:
    """The places of a VM's memory are all of it, at every moment. None without a VM, too."""
    configured = {sample.labels["domain"]: sample.value
                  for sample in metrics["ebb_vm_configured_bytes"].samples}
    sums = dict.fromkeys(configured, 0.0)
    for sample in metrics["ebb_vm_memory_bytes"].samples:
        sums[sample.labels["domain"]] += sample.value
    return [f"{domain}: {configured[domain]:.0f} configured, in all places {total:.0f}"
            for domain, total in sums.items() if total != configured[domain]]
