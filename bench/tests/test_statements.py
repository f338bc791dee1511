"""What is made of the readings: turns, medians, budgets, files."""

from __future__ import annotations

import contextlib
import io
import tomllib
import unittest
from pathlib import Path
from xml.etree import ElementTree

from instructions import count
from measure import Result, turns
from peers import PEERS, ringgate_configuration
from plot import draw
from report import markdown
from scenarios import SCENARIOS
from summary import summarise, verdicts

ABOUT = {
    "cpu": "some CPU", "cpus": 2, "memory_mib": 4096, "placement": "pinned", "commit": "abc",
    "distribution": "Debian", "kernel": "6.18", "congestion_control": "reno", "build": "release",
    "versions": {"nginx": "1.22"}, "date": "2026-11-20", "load_average": [0.1, 0.1, 0.1],
    "command": "compare.py", "rounds": 3, "seconds": 3,
}


def row(candidate: str, number: int, cpu: float, errors: dict | None = None) -> dict:
    return {
        "candidate": candidate, "round": number, "cpu_us_per_request": cpu, "p50_us": 900,
        "p99_us": 2000, "errors": errors or {},
    }


def plain(ringgate: list[float]) -> Result:
    """Three rounds of nginx at 10 µs and Ringgate as told."""
    result = Result("128 B", "CPU per request")
    for number, cost in enumerate(ringgate, 1):
        result.rounds += [row("nginx", number, 10.0), row("ringgate", number, cost)]
    return result


class Rounds(unittest.TestCase):
    def test_every_other_round_runs_backwards(self) -> None:
        order = list(turns(2, ["a", "b", "c"]))
        self.assertEqual(order, [(1, "a"), (1, "b"), (1, "c"), (2, "c"), (2, "b"), (2, "a")])


class Summary(unittest.TestCase):
    def test_a_ratio_is_that_of_the_medians(self) -> None:
        figures = summarise(plain([8.0, 30.0, 7.0]))["ringgate"]
        self.assertEqual(figures["cpu_us_per_request"], 8.0)
        self.assertEqual(figures["cpu_vs_nginx"], 0.8)
        self.assertEqual(figures["cpu_us_range"], [7.0, 30.0])
        self.assertNotIn("cpu_vs_haproxy", figures)

    def test_the_split_of_user_and_system_is_taken_over_all_rounds(self) -> None:
        result = Result("128 B", "CPU per request")
        for number, user in enumerate([0, 9], 1):
            ticks = {"user_ticks": user, "system_ticks": 18 - user}
            result.rounds.append(row("nginx", number, 8.0) | ticks)
        figures = summarise(result)["nginx"]
        self.assertEqual((figures["user_us"], figures["system_us"]), (2.0, 6.0))

    def test_errors_of_all_rounds_add_up(self) -> None:
        result = plain([8.0])
        result.rounds.append(row("ringgate", 2, 8.0, {"read": 2, "status": 3}))
        self.assertEqual(summarise(result)["ringgate"]["errors"], 5)

    def test_a_budget_is_met_up_to_its_limit(self) -> None:
        for cost, outcome in [(8.4, "met"), (8.5, "NOT met")]:
            words = [str(found) for found in verdicts({"plain-128": summarise(plain([cost]))})]
            wanted = f"plain-128: {cost / 10:.2f} of nginx, budget 0.84: {outcome}"
            self.assertEqual(words, [wanted])

    def test_without_ringgate_nothing_is_judged(self) -> None:
        result = Result("128 B", "CPU per request", [row("nginx", 1, 10.0)])
        self.assertEqual(verdicts({"plain-128": summarise(result)}), [])


class Files(unittest.TestCase):
    def test_the_plot_is_xml_with_a_bar_for_each_ratio(self) -> None:
        summaries = {"plain-128": summarise(plain([8.0])), "idle": {"nginx": {}}}
        plot = ElementTree.fromstring(draw(summaries))
        texts = [text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("0.80", texts)
        self.assertIn("plain-128", texts)
        self.assertNotIn("idle", texts)

    def test_the_report_shows_figures_failures_and_the_machine(self) -> None:
        result = plain([8.0])
        result.failures.append("plain-128: ringgate, round 1: {'status': 3}")
        results = {"plain-128": result}
        text = markdown(ABOUT, results, {"plain-128": summarise(result)}, ["a verdict"])
        for wanted in ["| ringgate | 8.00 |", "{'status': 3}", "some CPU", "- a verdict"]:
            self.assertIn(wanted, text)

    def test_ringgate_is_configured_in_toml_whatever_the_duties(self) -> None:
        for scenario in SCENARIOS:
            document = tomllib.loads(ringgate_configuration(scenario, Path("/tmp/log")))
            self.assertEqual("access_log" in document, scenario.duties.access_log)
            self.assertEqual("model" in document, scenario.duties.ai)
            self.assertEqual(document["route"][-1]["cluster"], "origin")

    def test_candidates_can_run_side_by_side(self) -> None:
        ports = [port for peer in PEERS.values() for port in (peer.port, peer.metrics_port)]
        self.assertEqual(len(ports), len(set(ports)))


class Instructions(unittest.TestCase):
    def test_growth_beyond_the_tolerance_is_a_problem_and_so_is_what_nobody_blessed(self) -> None:
        judged = {counted: count.judge(counted, 100.0) for counted in (94.0, 96.0, 105.0, 106.0)}
        self.assertEqual(judged, {94.0: "shrunk", 96.0: "same", 105.0: "same", 106.0: "grown"})
        self.assertEqual(count.judge(1.0, None), "new")

    def test_counts_of_another_compiler_are_not_judged(self) -> None:
        def counted(compiler: str, instructions: float) -> dict:
            return {"setting": {"compiler": compiler}, "instructions": {"scan": instructions}}

        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(count.compare(counted("a", 106.0), counted("a", 100.0)), 1)
            self.assertEqual(count.compare(counted("a", 104.0), counted("a", 100.0)), 0)
            self.assertEqual(count.compare(counted("b", 106.0), counted("a", 100.0)), 0)
            self.assertEqual(count.compare(counted("a", 1.0), {}), 1)
