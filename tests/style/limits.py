#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each reason for which ebbd refuses a VM is in docs/LIMITS.md, with what to do about it."""

import re

from source import ROOT, Tap, read

SOURCES = ("hostd/vm/attach_check.cc", "hostd/os/descriptor.cc", "hostd/os/process_view.cc",
           "hostd/peers/qemu/qemu_session.cc", "hostd/peers/qemu/handover.cc")
PAGE = "docs/LIMITS.md"

LITERALS = r'((?:"(?:[^"\\\n]|\\.)*"\s*)+)'
REFUSAL = re.compile(
    r"(?:Refused|\w+Error)\(\s*(?:absl::StrFormat\(\s*)?" + LITERALS)
# The table of devices: {"/dev/NAME", "why"}.
DEVICE = re.compile(r'\{"(?:/dev|anon_inode)[^"]*",\s*' + LITERALS)
# No refusals: what another message ends with, and lines of the log.
ELSEWHERE = ("has no nested_run of it", "not detached:", "stop refused:",
             "descriptors that other processes handed over do not close")
# As long as a reader needs to recognize it: a message may go on with its remedy.
WORDS_MAX = 6


def reasons(text):
    """The fixed part of each message that says most: between values, before its remedy."""
    for match in [*REFUSAL.finditer(text), *DEVICE.finditer(text)]:
        message = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1)))
        fixed = message.split(";")[0].replace("(any more)", "").replace('\\"', "")
        parts = [part.strip(" (),") for part in re.split(r"%[-#]?\w+", fixed)]
        words = max(parts, key=len).split()
        # A message of one word has its text in the table of devices.
        if len(words) > 1 and not any(other in message for other in ELSEWHERE):
            yield " ".join(words[:WORDS_MAX])


def missing(sources, page):
    flat = " ".join(page.split())
    return sorted({f"{PAGE} says nothing of: {reason}"
                   for text in sources for reason in reasons(text) if reason not in flat})


SAMPLES = [  # (source, page, whether it is fine)
    ('return Refused("it burns; put it out");', "| it burns | why |", True),
    ('return Refused("it burns; put it out");', "| it smokes | why |", False),
    ('return Refused(\n    absl::StrFormat("process %d has "\n "eaten it", pid));',
     "| has eaten it |", True),
    ('{"/dev/fire", "it is hot"},', "nothing", False),
    ('{"/dev/fire", "it is hot"},', "it is hot", True),
]


def main():
    tap = Tap()
    for source, page, fine in SAMPLES:
        tap.expect(f"{' '.join(source.split())} / {page}", fine == (not missing([source], page)))
    sources = [read(ROOT, path) for path in SOURCES]
    tap.expect("the reasons are found", sum(len(list(reasons(text))) for text in sources) > 20)
    tap.point("docs/LIMITS.md has every reason for which a VM is refused",
              missing(sources, read(ROOT, PAGE)))
    tap.end()


if __name__ == "__main__":
    main()
