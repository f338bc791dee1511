"""From rows to statements: medians, ratios, budgets."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from measure import Result

BASELINES = ("nginx", "haproxy")

CPU_COSTS = ("cpu_us_per_request", "cpu_us_per_event")


def summarise(result: Result) -> dict[str, dict]:
    """By candidate: medians of every figure, ratios to the baselines, spread of the CPU cost."""
    names = dict.fromkeys(row["candidate"] for row in result.rounds)
    summary = {name: medians(result, name) for name in names}
    for name, figures in summary.items():
        figures.update(result.extra.get(name, {}))
        add_ratios(figures, result, name)
    return summary


def medians(result: Result, candidate: str) -> dict:
    rows = [row for row in result.rounds if row["candidate"] == candidate]
    figures: dict = {}
    for name in rows[0]:
        values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
        if values and name != "round":
            figures[name] = median(values)
            if name in CPU_COSTS:
                figures["cpu_us_range"] = [min(values), max(values)]
    add_split(figures, rows)
    figures["errors"] = sum(sum(row["errors"].values()) for row in rows)
    return figures


def add_split(figures: dict, rows: list[dict]) -> None:
    """User and system time per request or event, from the ticks of all rounds together."""
    user = sum(row.get("user_ticks", 0) for row in rows)
    ticks = user + sum(row.get("system_ticks", 0) for row in rows)
    cost = next((figures[name] for name in CPU_COSTS if name in figures), None)
    if ticks and cost is not None:
        figures["user_us"] = round(cost * user / ticks, 3)
        figures["system_us"] = round(cost * (ticks - user) / ticks, 3)


def add_ratios(figures: dict, result: Result, candidate: str) -> None:
    """CPU cost and p99 delay relative to each baseline.

    The median of the rounds' ratios, not the ratio of two medians: a machine that changes its
    speed between rounds changes it for all candidates of a round.
    """
    for baseline in BASELINES:
        for name, ratio in [*((cost, f"cpu_vs_{baseline}") for cost in CPU_COSTS),
                            ("p99_us", f"p99_vs_{baseline}")]:
            mine, other = by_round(result, candidate, name), by_round(result, baseline, name)
            ratios = [mine[n] / other[n] for n in mine if other.get(n)]
            if ratios:
                figures[ratio] = round(median(ratios), 3)


def by_round(result: Result, candidate: str, name: str) -> dict[int, float]:
    rows = (row for row in result.rounds if row["candidate"] == candidate)
    return {row["round"]: row[name] for row in rows if isinstance(row.get(name), int | float)}


@dataclass(frozen=True)
class Budget:
    """At most `limit` in one figure of Ringgate in one scenario."""

    scenario: str
    figure: str
    limit: float
    wording: str
    """How the figure is named in a sentence after its number."""


BUDGETS = [
    Budget("plain-128", "cpu_vs_nginx", 0.84, "of nginx"),
    Budget("plain-128", "cpu_vs_haproxy", 0.75, "of haproxy"),
    Budget("plain-16k", "cpu_vs_nginx", 0.85, "of nginx"),
    Budget("plain-16k", "cpu_vs_haproxy", 0.70, "of haproxy"),
    Budget("plain-16k-default", "cpu_vs_nginx", 0.85, "of nginx"),
    Budget("plain-16k-default", "cpu_vs_haproxy", 0.70, "of haproxy"),
    Budget("close", "cpu_vs_nginx", 0.90, "of nginx"),
    Budget("tls", "cpu_vs_nginx", 0.75, "of nginx"),
    Budget("tls-handshakes", "cpu_vs_nginx", 0.50, "of nginx"),
    Budget("h2", "cpu_vs_haproxy", 0.75, "of haproxy"),
    Budget("governed-128", "cpu_vs_nginx", 0.80, "of nginx"),
    Budget("governed-128", "cpu_vs_haproxy", 0.70, "of haproxy"),
    Budget("chat", "cpu_vs_nginx", 1.35, "of nginx"),
    Budget("streams", "p50_us", 100.0, "µs median delay"),
    Budget("streams", "p99_vs_nginx", 1.0, "of nginx in p99 delay"),
    Budget("idle", "kib_per_connection", 3.5, "KiB per idle connection"),
    Budget("idle-tls", "kib_per_connection", 12.0, "KiB per idle connection of TLS"),
    Budget("idle-h2", "kib_per_connection", 45.0, "KiB per idle connection of HTTP/2"),
]


@dataclass(frozen=True)
class Verdict:
    """A budget beside what was measured."""

    budget: Budget
    measured: float

    @property
    def met(self) -> bool:
        return self.measured <= self.budget.limit

    def __str__(self) -> str:
        budget = self.budget
        outcome = "met" if self.met else "NOT met"
        return (
            f"{budget.scenario}: {self.measured:.2f} {budget.wording}, "
            f"budget {budget.limit:.2f}: {outcome}"
        )


def verdicts(summaries: dict[str, dict[str, dict]]) -> list[Verdict]:
    """One for each budget whose figure was measured."""
    found = []
    for budget in BUDGETS:
        measured = summaries.get(budget.scenario, {}).get("ringgate", {}).get(budget.figure)
        if measured is not None:
            found.append(Verdict(budget, measured))
    return found
