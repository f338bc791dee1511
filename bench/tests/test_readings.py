"""What is read from the kernel, from tools and from log files."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from candidate import AccessLog
from cpu import cpu_time, resident_kib
from load import parse_h2load, parse_wrk
from process import descendants
from syscalls import parse_perf, parse_strace

WRK = """\
Running 3s test @ http://127.0.0.1:18081/bytes/128
  1 threads and 64 connections
Requests/sec:  41432.00
{"requests": 124296, "duration_us": 3000123, "p50_us": 974, "p99_us": 11855, "errors": \
{"connect": 0, "read": 2, "write": 0, "status": 7, "timeout": 0}}
"""

H2LOAD = """\
finished in 3.00s, 139012.33 req/s, 5.20MB/s
requests: 417037 total, 418037 started, 417037 done, 417030 succeeded, 5 failed, 2 errored, 0 timeout
status codes: 417030 2xx, 0 3xx, 0 4xx, 7 5xx
traffic: 15.61MB (16364382) total, 3.58MB (3754233) headers (space savings 94.12%)
"""

PERF = """\
# started on Fri Nov 20 13:30:00 2026

209471,,raw_syscalls:sys_enter,1300000000,100.00,,
"""

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.600000           3    200000      1200 recvfrom
 40.00    0.400000           4    100000           writev
------ ----------- ----------- --------- --------- ----------------
100.00    1.000000           3    300000      1200 total
"""


class Tools(unittest.TestCase):
    def test_wrk_is_read_with_its_errors_by_kind(self) -> None:
        seen = parse_wrk(WRK)
        self.assertEqual((seen.requests, seen.p99_us), (124296, 11855))
        self.assertAlmostEqual(seen.seconds, 3.000123)
        self.assertEqual(seen.errors, {"read": 2, "status": 7})

    def test_h2load_is_read_with_its_errors_by_kind(self) -> None:
        seen = parse_h2load(H2LOAD)
        self.assertEqual((seen.requests, seen.seconds, seen.p50_us), (417037, 3.0, None))
        self.assertEqual(seen.errors, {"failed": 5, "errored": 2, "status": 7})

    def test_perf_gives_its_count_or_says_that_it_has_none(self) -> None:
        self.assertEqual(parse_perf(PERF), 209471)
        self.assertIsNone(parse_perf("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"))

    def test_strace_gives_its_total(self) -> None:
        self.assertEqual(parse_strace(STRACE), 300000)
        self.assertIsNone(parse_strace(""))


class Kernel(unittest.TestCase):
    def test_descendants_are_found_and_nobody_else(self) -> None:
        with subprocess.Popen(["sh", "-c", "sleep 30 & wait"], start_new_session=True) as shell:
            try:
                deadline = time.monotonic() + 10
                while len(descendants(shell.pid)) < 2 and time.monotonic() < deadline:
                    time.sleep(0.01)
                found = descendants(shell.pid)
                self.assertEqual((found[0], len(found)), (shell.pid, 2))
                self.assertNotIn(os.getpid(), found)
            finally:
                os.killpg(shell.pid, 9)

    def test_cpu_time_grows_with_work(self) -> None:
        own = [os.getpid()]
        before = cpu_time(own)
        began = time.thread_time_ns()
        while time.thread_time_ns() - began < 50_000_000:
            pass
        spent = cpu_time(own) - before
        self.assertGreaterEqual(spent.run_ns, 45_000_000)
        self.assertGreater(spent.user_ticks + spent.system_ticks, 0)

    def test_resident_memory_grows_when_memory_is_used(self) -> None:
        before = resident_kib([os.getpid()])
        used = bytearray(os.urandom(1)) * (32 << 20)
        grown = resident_kib([os.getpid()]) - before
        self.assertGreater(grown, 30 << 10)
        self.assertEqual(len(used), 32 << 20)


class Logs(unittest.TestCase):
    def test_a_log_is_counted_over_several_drains_while_it_is_appended_to(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            log = AccessLog(Path(directory, "access.log"))
            log.drain()
            with open(log.file, "ab", buffering=0) as writer:
                writer.write(b"one\ntwo\n")
                log.drain()
                writer.write(b"three\n")
            log.drain()
            self.assertEqual(log.lines, 3)
            self.assertEqual(log.file.read_bytes(), b"")
