#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The live view fits a terminal in every phase, and its figures are the record's."""

import re
import unittest

import fixtures
import view
from record import Record
from tap import run_unit_tests

COLUMNS = 80
ROWS = 24


def plain(record: Record, now: float) -> list[str]:
    rates = view.Rates()
    rates.update(record, now - 1)
    lines = view.screen(fixtures.SETTING, record, rates, now)
    return [re.sub(r"\x1b\[\d*m", "", line) for line in lines]


class ScreenTest(unittest.TestCase):
    def assert_fits(self, lines: list[str]) -> None:
        self.assertLessEqual(len(lines), ROWS)
        for line in lines:
            self.assertLessEqual(len(line), COLUMNS, line)

    def test_it_fits_from_the_first_moment_on(self) -> None:
        record = Record(started=fixtures.STARTED)
        self.assert_fits(plain(record, fixtures.STARTED))
        record.add_sample(fixtures.sample(fixtures.STARTED + 1))
        record.add_report(fixtures.report("filling"), fixtures.STARTED + 2)
        self.assert_fits(plain(record, fixtures.STARTED + 3))
        self.assert_fits(plain(fixtures.record_that_passes(), fixtures.SETTLED + 3))

    def test_it_shows_the_saving_and_the_phase(self) -> None:
        text = "\n".join(plain(fixtures.record_that_passes(), fixtures.SETTLED + 3))
        self.assertIn("530 MiB", text)
        self.assertIn("28% less", text)
        self.assertIn("Measuring", text)

    def test_rates_are_per_second(self) -> None:
        record = fixtures.record_that_passes()
        rates = view.Rates()
        rates.update(record, 100.0)
        record.add_status(fixtures.vm(faults=fixtures.vm()["faults"] + 5000), fixtures.host())
        rates.update(record, 102.0)
        self.assertEqual(rates.faults, 2500)

    def test_one_line_says_the_same(self) -> None:
        line = view.line(fixtures.SETTING, fixtures.record_that_passes(), view.Rates(),
                         fixtures.SETTLED + 3)
        self.assertIn("host spends 530 MiB", line)
        self.assertIn("0 bytes wrong", line)

    def test_bars_stay_within_their_width(self) -> None:
        for part in (-1, 0, 0.5, 1, 7):
            self.assertEqual(len(view.bar(part, 1)), view._BAR)
        self.assertEqual(len(view.bar(1, 0)), view._BAR)


if __name__ == "__main__":
    run_unit_tests()
