#!/usr/bin/env python3
"""Compares Ringgate with nginx and HAProxy in one run on one machine.

`make bench`, or `python3 bench/compare.py --help`. The method is described in bench/README.md.
Exit code 1 when a candidate failed or answered with errors: then the figures are void, but what
was measured is still written. A budget that is not met is said, and does not fail the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import machine
import namespace
import report
from measure import Plan, Result, run
from peers import PEERS
from scenarios import SCENARIOS, named

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# Above this, somebody else is working on the two CPUs.
BUSY_LOAD_AVERAGE = 0.5


def main() -> int:
    options = parse_options()
    machine.search_sbin()
    namespace.end_on_sigterm()
    if not namespace.is_inside():
        if (os.cpu_count() or 1) < 2:
            sys.exit("bench needs two CPUs: one for the program under test, one for the load")
        machine.install(installable(options.candidates))
        machine.build(ROOT, with_ringgate=wants_ringgate_built(options))
        return namespace.run_inside()
    namespace.prepare()
    return compare(options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--scenario", action="append", default=[], choices=[row.name for row in SCENARIOS],
        help="run only this one; may be given several times",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each candidate")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn")
    parser.add_argument(
        "--candidates", type=candidate_names, default=list(PEERS), metavar="A,B",
        help=f"of {','.join(PEERS)}",
    )
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where results go")
    parser.add_argument("--binary", type=Path, help="a ringgate built elsewhere")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    return options


def candidate_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"no such candidate: {', '.join(unknown)}")
    return names


def installable(candidates: list[str]) -> list[str]:
    return [name for name in candidates if name != "ringgate"] + ["wrk", "h2load", "strace"]


def wants_ringgate_built(options: argparse.Namespace) -> bool:
    return "ringgate" in options.candidates and options.binary is None


def compare(options: argparse.Namespace) -> int:
    """Runs the scenarios and writes the results, also when interrupted."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
    programs = {"ringgate": str((options.binary or built / "ringgate").resolve())}
    about = machine.describe(ROOT, programs, options.candidates)
    about |= {"rounds": options.rounds, "seconds": options.seconds}
    if about["load_average"][0] > BUSY_LOAD_AVERAGE:
        print(f"the machine is busy (load {about['load_average'][0]:.2f}): figures will be rough")
    results: dict[str, Result] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="ringgate-bench-") as directory:
            plan = Plan(
                candidates=options.candidates,
                rounds=options.rounds,
                seconds=options.seconds,
                tool=built / "ringgate-bench",
                programs=programs,
                directory=Path(directory),
            )
            for scenario in named(options.scenario):
                print(f"{scenario.name}: {scenario.title}", flush=True)
                results[scenario.name] = Result(scenario.title, scenario.kind.value)
                run(plan, scenario, results[scenario.name])
    finally:
        words = report.write(options.out, about, results)
        print("\n".join(words))
        print(f"results in {options.out}/latest.md")
    failures = [failure for result in results.values() for failure in result.failures]
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
