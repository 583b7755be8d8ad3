#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""When a run counts as passed, and what it says when it does not."""

import unittest

import fixtures
from first_light import KEYS
from record import Record
from sizes import MIB
from summary import as_json, as_text, failures
from tap import run_unit_tests


def failures_of(record: Record, **ending) -> list[str]:
    return failures(fixtures.SETTING, record, fixtures.ending(**ending))


class VerdictTest(unittest.TestCase):
    def assert_fails(self, text: str, record: Record, **ending) -> None:
        found = failures_of(record, **ending)
        self.assertEqual(len(found), 1, found)
        self.assertIn(text, found[0])

    def test_a_good_run_passes(self) -> None:
        self.assertEqual(failures_of(fixtures.record_that_passes()), [])

    def test_the_limit_has_five_percent_of_overshoot(self) -> None:
        record = fixtures.record_that_passes()
        record.add_sample(fixtures.sample(fixtures.SETTLED + 5, resident=268 * MIB))
        self.assertEqual(failures_of(record), [])
        record.add_sample(fixtures.sample(fixtures.SETTLED + 6, resident=269 * MIB))
        self.assert_fails("limit was not held", record)

    def test_a_wrong_byte_fails(self) -> None:
        record = fixtures.record_that_passes()
        record.add_report(fixtures.report(verified=4000 * MIB, wrong=1), fixtures.SETTLED + 4)
        self.assert_fails("1 wrong bytes", record)

    def test_a_guest_that_verifies_nothing_after_settling_fails(self) -> None:
        record = fixtures.record_that_passes()
        record.settled_verified_from = record.report.verified_bytes
        self.assert_fails("verified nothing", record)

    def test_a_detached_vm_fails(self) -> None:
        record = fixtures.record_that_passes()
        record.add_status(fixtures.vm(), fixtures.host(detached_vms=1))
        self.assert_fails("detached", record)

    def test_a_held_vm_fails(self) -> None:
        record = fixtures.record_that_passes()
        record.add_status(fixtures.vm(state="held", held_reason="checksum"), fixtures.host())
        self.assert_fails("checksum", record)

    def test_a_dead_component_fails(self) -> None:
        self.assert_fails("ebbd was killed", fixtures.record_that_passes(),
                          deaths=["ebbd was killed by SIGSEGV."])

    def test_a_guest_that_gave_up_fails(self) -> None:
        self.assert_fails("no disk", fixtures.record_that_passes(), guest_failure="no disk")

    def test_a_silent_guest_fails(self) -> None:
        self.assert_fails("hangs", fixtures.record_that_passes(), silence_s=25.0)


class TooShortTest(unittest.TestCase):
    def assert_too_short(self, text: str, record: Record) -> None:
        found = failures_of(record)
        self.assertEqual(len(found), 1, found)
        self.assertIn("Too short", found[0])
        self.assertIn(text, found[0])

    def test_before_the_guest_has_booted(self) -> None:
        self.assert_too_short("not booted", Record(started=fixtures.STARTED))

    def test_while_the_guest_fills(self) -> None:
        record = Record(started=fixtures.STARTED)
        record.add_report(fixtures.report("filling"), fixtures.STARTED + 3)
        self.assert_too_short("still filling", record)

    def test_before_it_has_settled(self) -> None:
        record = Record(started=fixtures.STARTED)
        record.add_report(fixtures.report(), fixtures.FILLED)
        record.add_sample(fixtures.sample(fixtures.FILLED + 1))
        self.assert_too_short("40 s after the start", record)

    def test_a_death_before_settling_is_not_called_too_short(self) -> None:
        found = failures_of(Record(started=fixtures.STARTED), deaths=["QEMU exited."])
        self.assertEqual(found, ["QEMU exited."])


class OutputTest(unittest.TestCase):
    def test_json_has_the_agreed_keys_whether_measured_or_not(self) -> None:
        for record in (fixtures.record_that_passes(), Record(started=fixtures.STARTED)):
            result = as_json(fixtures.SETTING, record, fixtures.ending())
            self.assertEqual(set(result), KEYS)

    def test_host_bytes_add_up(self) -> None:
        result = as_json(fixtures.SETTING, fixtures.record_that_passes(), fixtures.ending())
        self.assertEqual(result["host_bytes_max_after_settling"], (250 + 270 + 2 + 3 + 5) * MIB)

    def test_the_text_says_passed_or_what_failed(self) -> None:
        record = fixtures.record_that_passes()
        self.assertIn("passed", as_text(fixtures.SETTING, record, fixtures.ending()))
        text = as_text(fixtures.SETTING, record, fixtures.ending(deaths=["ebbd exited."]))
        self.assertIn("FAILED", text)
        self.assertIn("ebbd exited.", text)

    def test_the_text_of_a_run_that_saw_nothing(self) -> None:
        text = as_text(fixtures.SETTING, Record(started=fixtures.STARTED), fixtures.ending())
        self.assertIn("Too short", text)


if __name__ == "__main__":
    run_unit_tests()
