#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is read from /proc. Where it can be tried on ourselves, it is."""

import mmap
import os
import time
import unittest

import sampler
from sizes import KIB, MIB
from tap import run_unit_tests

SMAPS = """55a84c457000-7ffc8598d000 ---p 00000000 00:00 0                          [rollup]
Rss:              923120 kB
Pss_Anon:          83936 kB
Pss_File:          21937 kB
Pss_Shmem:        815628 kB
"""


class ParseTest(unittest.TestCase):
    def test_smaps_rollup(self) -> None:
        fields = sampler.parse_smaps_rollup(SMAPS)
        self.assertEqual(fields["Rss"], 923120 * KIB)
        self.assertEqual(sampler.own_bytes(fields), (83936 + 21937) * KIB)

    def test_memfd_names(self) -> None:
        self.assertEqual(sampler.memfd_name("/memfd:ebb-pool (deleted)"), "ebb-pool")
        self.assertIsNone(sampler.memfd_name("/dev/shm/memfd"))
        self.assertIsNone(sampler.memfd_name("socket:[1234]"))


class MeasureTest(unittest.TestCase):
    def setUp(self) -> None:
        self.memfd = os.memfd_create(sampler.RAM_MEMFD)
        self.addCleanup(os.close, self.memfd)
        os.ftruncate(self.memfd, 16 * MIB)
        os.pwrite(self.memfd, bytes(4 * MIB), 0)

    def test_a_memfd_counts_what_it_takes_and_counts_once(self) -> None:
        again = os.dup(self.memfd)
        self.addCleanup(os.close, again)
        self.assertEqual(sampler.memfd_bytes(os.getpid())[sampler.RAM_MEMFD], 4 * MIB)

    def test_two_memfds_of_a_name_add_up(self) -> None:
        other = os.memfd_create(sampler.RAM_MEMFD)
        self.addCleanup(os.close, other)
        os.pwrite(other, bytes(MIB), 0)
        self.assertEqual(sampler.memfd_bytes(os.getpid())[sampler.RAM_MEMFD], 5 * MIB)

    def test_a_mapped_memfd_is_not_our_own_memory(self) -> None:
        before = sampler.take_sample(os.getpid(), os.getpid()).ebbd_bytes
        with mmap.mmap(self.memfd, 4 * MIB) as memory:
            _ = memory[::mmap.PAGESIZE]  # maps every page
            after = sampler.take_sample(os.getpid(), os.getpid()).ebbd_bytes
        self.assertLess(after - before, 2 * MIB)

    def test_the_sampler_samples_and_stops(self) -> None:
        samples: list[sampler.Sample] = []
        running = sampler.Sampler(os.getpid(), os.getpid(), samples.append)
        time.sleep(5 * sampler.INTERVAL_S)  # style-ok(sleep): samples come with time
        self.assertTrue(running.is_alive())
        running.stop()
        self.assertGreaterEqual(len(samples), 3)
        self.assertEqual(samples[0].resident_bytes, 4 * MIB)


if __name__ == "__main__":
    run_unit_tests()
