"""Programs under test and beside it: start pinned to a CPU, watch, end by process id."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

END_SECONDS = 5


class BenchError(Exception):
    """Something that makes a scenario's figures worthless; its text says what."""


@dataclass(frozen=True)
class Program:
    """A running program with its output files."""

    name: str
    process: subprocess.Popen[bytes]
    errors: Path

    def pids(self) -> list[int]:
        """The process and its descendants: nginx works in a child."""
        return descendants(self.process.pid)

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            said = self.errors.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} ended with code {self.process.returncode}: {said}")


@contextmanager
def running(
    name: str, command: list[str], cpu: int, directory: Path, output: Path | None = None
) -> Iterator[Program]:
    """Runs `command` on one CPU while the context lasts.

    Standard output is appended to `output`: a program may use it as its log.
    """
    errors = directory / f"{name}.stderr"
    with open(output or directory / f"{name}.stdout", "ab") as stdout, open(errors, "ab") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )
    try:
        yield Program(name, process, errors)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks the process to end, and insists after a while."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def descendants(pid: int) -> list[int]:
    """`pid` and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(entry)):
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def parent_of(entry: Path) -> int | None:
    """The parent of the process with this directory under /proc, unless it has just gone."""
    try:
        stat = (entry / "stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold anything: what counts begins after the last one.
    return int(stat.rpartition(")")[2].split()[1])


def wait_until(program: Program, done: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Asks `done` until it agrees; gives up when the program ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not done():
        program.check_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"{program.name}: {what} not within {seconds:.0f} s")
        time.sleep(0.02)
