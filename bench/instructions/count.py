#!/usr/bin/env python3
"""Counts the instructions of the pure parts under callgrind, and guards them against growth.

Wall time on a shared machine is noise; instruction counts repeat to a fraction of a percent.
Each operation runs N and 2N times: the difference, divided by N, is free of start-up.

`make bench-instructions` compares with the committed baseline and fails when an operation needs more
than the tolerance above it, or has no baseline. `count.py --bless` takes what was counted as the
new baseline. A new compiler may move every count: bless then, and say so in the commit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BASELINE = HERE / "baseline.json"
RESULT = HERE.parent / "results" / "instructions.json"

TIMES = 1000
TOLERANCE = 0.05
RUN_SECONDS_MAX = 120

COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")

Counts = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bless", action="store_true", help="write the baseline")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("count.py needs valgrind: apt-get install valgrind")
    program = build()
    counts = {name: count(program, name) for name in operations(program)}
    write(RESULT, counts)
    if options.bless:
        write(BASELINE, counts)
        return 0
    return 1 if report(counts, json.loads(BASELINE.read_text())["instructions"]) else 0


def build() -> Path:
    """The shipped profile: what is counted is what runs."""
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    command = [*cargo, "build", "--release", "--locked", "-p", "ringgate-bench"]
    subprocess.run([*command, "--bin", "ringgate-instructions"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    return target / "release" / "ringgate-instructions"


def operations(program: Path) -> list[str]:
    done = subprocess.run([program, "list"], check=True, capture_output=True, text=True)
    return done.stdout.split()


def count(program: Path, operation: str) -> float:
    """Instructions of one operation."""
    once, twice = (collect(program, operation, times) for times in (TIMES, 2 * TIMES))
    return round((twice - once) / TIMES, 1)


def collect(program: Path, operation: str, times: int) -> int:
    """Instructions of the whole program with so many operations."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program)]
    done = subprocess.run(
        [*command, operation, str(times)],
        capture_output=True, text=True, timeout=RUN_SECONDS_MAX,
    )
    found = COLLECTED.search(done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(f"{operation} failed under callgrind:\n{done.stderr}")
    return int(found.group(1))


def report(counts: Counts, baseline: Counts) -> list[str]:
    """Prints every operation beside its baseline; returns what is wrong."""
    problems = []
    for name, counted in counts.items():
        known = baseline.get(name)
        finding = judge(counted, known)
        beside = "no baseline" if known is None else f"baseline {known:,.1f}"
        print(f"{name:<24}{counted:>12,.1f}  {beside}  {finding}")
        if finding in ("grown", "new"):
            problems.append(name)
    for name in sorted(baseline.keys() - counts.keys()):
        print(f"{name:<24} is in the baseline and was not counted")
        problems.append(name)
    return problems


def judge(counted: float, known: float | None) -> str:
    """`shrunk` is worth a new baseline, so that the gain is kept."""
    if known is None:
        return "new"
    if counted > known * (1 + TOLERANCE):
        return "grown"
    if counted < known * (1 - TOLERANCE):
        return "shrunk"
    return "same"


def write(file: Path, counts: Counts) -> None:
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    document = {"compiler": rustc, "instructions": counts}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
