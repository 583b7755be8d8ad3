#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What counts as settled, and which maxima and minima are kept."""

import unittest

import fixtures
from phase import phase_of
from record import Record
from sizes import MIB
from tap import run_unit_tests


class SettlingTest(unittest.TestCase):
    def setUp(self) -> None:
        self.record = Record(started=fixtures.STARTED)
        self.record.add_report(fixtures.report("filling", used=400 * MIB), fixtures.STARTED + 2)

    def test_nothing_is_settled_while_filling(self) -> None:
        self.record.add_sample(fixtures.sample(fixtures.STARTED + 500))
        self.assertEqual(self.record.settled_maxima.samples, 0)

    def test_samples_count_from_thirty_seconds_after_the_fill(self) -> None:
        self.record.add_report(fixtures.report(), fixtures.FILLED)
        self.record.add_sample(fixtures.sample(fixtures.SETTLED - 0.1, resident=900 * MIB))
        self.record.add_sample(fixtures.sample(fixtures.SETTLED, resident=251 * MIB))
        self.record.add_sample(fixtures.sample(fixtures.SETTLED + 1, resident=240 * MIB))
        self.assertEqual(self.record.settled_maxima.samples, 2)
        self.assertEqual(self.record.settled_maxima.resident_bytes, 251 * MIB)

    def test_the_first_report_that_the_fill_is_over_starts_the_settling(self) -> None:
        for second in range(3):
            self.record.add_report(fixtures.report(), fixtures.FILLED + second)
        self.assertEqual(self.record.filled, fixtures.FILLED)

    def test_the_smallest_use_after_settling_is_kept(self) -> None:
        self.record.add_report(fixtures.report(used=500 * MIB), fixtures.FILLED)
        for second, used in enumerate((734, 730, 733)):
            self.record.add_report(fixtures.report(used=used * MIB), fixtures.SETTLED + second)
        self.assertEqual(self.record.settled_used_bytes_min, 730 * MIB)

    def test_only_what_was_verified_after_settling_counts_as_that(self) -> None:
        self.record.add_report(fixtures.report(verified=100 * MIB), fixtures.FILLED)
        self.assertEqual(self.record.settled_verified_bytes, 0)
        self.record.add_report(fixtures.report(verified=900 * MIB), fixtures.SETTLED)
        self.record.add_report(fixtures.report(verified=950 * MIB), fixtures.SETTLED + 1)
        self.assertEqual(self.record.settled_verified_bytes, 50 * MIB)

    def test_the_pool_and_what_is_swapped_are_watched_all_the_time(self) -> None:
        self.record.add_sample(fixtures.sample(fixtures.STARTED + 3, pool=300 * MIB))
        self.record.add_sample(fixtures.sample(fixtures.STARTED + 4, pool=200 * MIB))
        self.record.add_status(fixtures.vm(swapped_bytes=600 * MIB), fixtures.host())
        self.record.add_status(fixtures.vm(swapped_bytes=500 * MIB), fixtures.host())
        self.assertEqual(self.record.pool_bytes_max, 300 * MIB)
        self.assertEqual(self.record.swapped_bytes_max, 600 * MIB)


class PhaseTest(unittest.TestCase):
    def phase(self, record: Record, now: float) -> str:
        return phase_of(record, fixtures.SETTING.fill_bytes, now).name

    def test_phases_follow_each_other(self) -> None:
        record = Record(started=fixtures.STARTED)
        self.assertEqual(self.phase(record, fixtures.STARTED), "booting")
        record.add_report(fixtures.report("filling"), fixtures.STARTED + 2)
        self.assertEqual(self.phase(record, fixtures.STARTED + 2), "filling")
        record.add_report(fixtures.report(), fixtures.FILLED)
        self.assertEqual(self.phase(record, fixtures.FILLED + 1), "settling")
        record.add_report(fixtures.report(), fixtures.SETTLED)
        self.assertEqual(self.phase(record, fixtures.SETTLED), "measuring")

    def test_trouble_is_named(self) -> None:
        record = fixtures.record_that_passes()
        self.assertEqual(self.phase(record, fixtures.SETTLED + 60), "silent")
        record.add_status(fixtures.vm(state="held", held_reason="checksum"), fixtures.host())
        self.assertEqual(self.phase(record, fixtures.SETTLED + 60), "held")


if __name__ == "__main__":
    run_unit_tests()
