"""System calls of a program under load: perf where the kernel allows it, else strace.

perf counts without slowing the program; strace slows it tenfold, which lets a program that
batches its work batch more. The method is part of the result.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ATTACH_SECONDS = 0.3
END_SECONDS = 10


@dataclass(frozen=True)
class SyscallCount:
    """Calls made while a load ran."""

    calls: int
    method: str


def count_syscalls(pids: list[int], load: Callable[[], None]) -> SyscallCount | None:
    """Counts during `load`; None when neither tool is there or allowed."""
    pid_list = ",".join(map(str, pids))
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "counts")
        perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", str(output)]
        strace = ["strace", "-c", "-f", "-o", str(output)]
        attempts = [
            ("perf", [*perf, "-p", pid_list], parse_perf),
            ("strace", [*strace, *[f"--attach={pid}" for pid in pids]], parse_strace),
        ]
        for method, command, parse in attempts:
            if shutil.which(method) and observe(command, load):
                calls = parse(output.read_text())
                if calls is not None:
                    return SyscallCount(calls, method)
    return None


def observe(command: list[str], load: Callable[[], None]) -> bool:
    """Runs `load` under the eyes of a tool; false when the tool refused."""
    tool = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(ATTACH_SECONDS)
        if tool.poll() is not None:
            return False
        load()
        tool.send_signal(signal.SIGINT)
        tool.wait(END_SECONDS)
        return True
    finally:
        tool.kill()
        tool.wait()


def parse_perf(text: str) -> int | None:
    """The first field of the counter's line; `<not counted>` is no number."""
    for line in text.splitlines():
        if "raw_syscalls" in line and (count := line.split(",")[0]).isdigit():
            return int(count)
    return None


def parse_strace(text: str) -> int | None:
    """The line of totals: share, seconds, µs per call, calls, errors if any, `total`."""
    for line in text.splitlines():
        words = line.split()
        if words and words[-1] == "total" and len(words) >= 4:
            return int(words[3])
    return None
