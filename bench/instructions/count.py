#!/usr/bin/env python3
"""Counts the instructions of the pure parts under callgrind, and guards them against growth.

Wall time on a shared machine is noise; instruction counts repeat to a fraction of a percent.
Each operation runs N and 2N times: the difference, divided by N, is free of start-up.

`make bench-instructions` compares the shipped build with the committed baseline and fails when an
operation needs more than the tolerance above it, or has no baseline. `make test` does the same with
the build that it has already (`--profile quick`), which has a baseline of its own. `--bless` takes
what was counted as the new baseline. Another compiler, or a CPU with other vector instructions,
moves every count: then nothing is judged, and blessing is a commit of its own.
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
# Compiler and CPU: counts are comparable where these are the same.
Setting = dict[str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="release", help="the build that is counted")
    parser.add_argument("--bless", action="store_true", help="write the baseline")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("count.py needs valgrind: apt-get install valgrind")
    program = build(options.profile)
    counts = {name: count(program, name) for name in operations(program)}
    counted = {"setting": setting(), "instructions": counts}
    write(RESULT, {options.profile: counted})
    baselines = json.loads(BASELINE.read_text())
    if options.bless:
        write(BASELINE, baselines | {options.profile: counted})
        return 0
    return compare(counted, baselines.get(options.profile, {}))


def build(profile: str) -> Path:
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    command = [*cargo, "build", "--profile", profile, "--locked", "-p", "ringgate-bench"]
    subprocess.run([*command, "--bin", "ringgate-instructions"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    return target / profile / "ringgate-instructions"


def setting() -> Setting:
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    flags = set(Path("/proc/cpuinfo").read_text().split())
    # What valgrind knows of and the libraries choose by.
    return {"compiler": rustc, "vectors": "avx2" if "avx2" in flags else "sse2"}


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


def compare(counted: dict, baseline: dict) -> int:
    """The exit code: 1 when an operation has grown, or has no baseline in this setting."""
    findings = report(counted["instructions"], baseline.get("instructions", {}))
    if counted["setting"] != baseline.get("setting", counted["setting"]):
        print(f"not judged: the baseline is of {baseline['setting']}, this is {counted['setting']}")
        return 0
    return 1 if findings else 0


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


def write(file: Path, document: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
