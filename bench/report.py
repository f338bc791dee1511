"""The result files: everything as JSON, tables in Markdown. The plot is in `plot`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from measure import Result
from plot import draw
from scenarios import Kind
from summary import summarise, verdicts

Column = tuple[str, Callable[[dict], str]]


def write(directory: Path, about: dict, results: dict[str, Result]) -> list[str]:
    """Writes `latest.json`, `latest.md` and `latest.svg`; returns the verdicts in words."""
    directory.mkdir(parents=True, exist_ok=True)
    summaries = {name: summarise(result) for name, result in results.items() if result.rounds}
    findings = verdicts(summaries)
    document = {
        "about": about,
        "budgets": [
            {**asdict(found.budget), "measured": found.measured, "met": found.met}
            for found in findings
        ],
        "scenarios": {
            name: {**asdict(result), "summary": summaries.get(name, {})}
            for name, result in results.items()
        },
    }
    words = [str(found) for found in findings]
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (directory / "latest.json").write_text(text)
    (directory / "latest.md").write_text(markdown(about, results, summaries, words))
    (directory / "latest.svg").write_text(draw(summaries))
    return words


def markdown(
    about: dict, results: dict[str, Result], summaries: dict[str, dict], words: list[str]
) -> str:
    """One table per scenario, then budgets, failures, and what it was measured on."""
    parts = ["# Comparison with nginx and HAProxy", "![CPU cost relative to nginx](latest.svg)"]
    for name, summary in summaries.items():
        columns = COLUMNS[Kind(results[name].kind)]
        parts.append(f"## {name}\n\n{results[name].title}.\n\n{table(columns, summary)}")
    if words:
        parts.append("## Budgets\n\n" + bullets(words))
    failures = [failure for result in results.values() for failure in result.failures]
    if failures:
        parts.append("## Failures\n\n" + bullets(failures))
    parts.append("## Measured on\n\n" + bullets(conditions(about)))
    return "\n\n".join(parts) + "\n"


def conditions(about: dict) -> list[str]:
    versions = "; ".join(f"{name}: {text}" for name, text in about["versions"].items())
    return [
        f"{about['cpu']}, {about['cpus']} CPUs, {about['memory_mib']} MiB; {about['placement']}",
        f"{about['distribution']}, Linux {about['kernel']}, TCP {about['congestion_control']}",
        f"commit {about['commit']}; {about['build']}",
        versions,
        f"{about['date']}, load average before {about['load_average'][0]:.2f}",
        f"`{about['command']}`: {about['rounds']} rounds of {about['seconds']} s, medians; "
        f"the rounds stand in latest.json",
    ]


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def table(columns: list[Column], summary: dict[str, dict]) -> str:
    """Markdown, the candidate in front, numbers to the right."""
    rows = ["| candidate | " + " | ".join(title for title, _ in columns) + " |"]
    rows.append("|---|" + "--:|" * len(columns))
    for candidate, figures in summary.items():
        cells = [cell(figures) for _, cell in columns]
        rows.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def number(name: str, digits: int, scale: float = 1) -> Callable[[dict], str]:
    """A cell with one figure; a dash where there is none."""

    def cell(figures: dict) -> str:
        value = figures.get(name)
        return "–" if value is None else f"{value * scale:,.{digits}f}"

    return cell


def spread(figures: dict) -> str:
    low, high = figures.get("cpu_us_range", (None, None))
    return "–" if low is None else f"{low:.1f} to {high:.1f}"


def pair(first: Callable[[dict], str], second: Callable[[dict], str]) -> Callable[[dict], str]:
    return lambda figures: f"{first(figures)} / {second(figures)}"


SPLIT = pair(number("user_us", 1), number("system_us", 1))

RATIOS: list[Column] = [
    ("x nginx", number("cpu_vs_nginx", 2)),
    ("x haproxy", number("cpu_vs_haproxy", 2)),
]

COLUMNS: dict[Kind, list[Column]] = {
    Kind.REQUESTS: [
        ("CPU µs/request", number("cpu_us_per_request", 2)),
        ("range", spread),
        ("user / system", SPLIT),
        *RATIOS,
        ("requests/s", number("requests_per_second", 0)),
        ("core busy", number("utilisation", 2)),
        ("p50 / p99 ms", pair(number("p50_us", 2, 1e-3), number("p99_us", 2, 1e-3))),
        ("syscalls/request", number("syscalls_per_request", 2)),
        ("MiB", number("resident_kib", 1, 1 / 1024)),
        ("logged", number("logged_share", 3)),
        ("errors", number("errors", 0)),
    ],
    Kind.STREAMS: [
        ("p50 µs", number("p50_us", 0)),
        ("p99 µs", number("p99_us", 0)),
        ("max µs", number("max_us", 0)),
        ("CPU µs/event", number("cpu_us_per_event", 2)),
        ("user / system", SPLIT),
        *RATIOS,
        ("core busy", number("utilisation", 2)),
        ("MiB", number("resident_kib", 1, 1 / 1024)),
        ("errors", number("errors", 0)),
    ],
    Kind.IDLE: [
        ("KiB/connection", number("kib_per_connection", 2)),
        ("MiB before", number("resident_kib_before", 1, 1 / 1024)),
        ("MiB with them", number("resident_kib", 1, 1 / 1024)),
        ("errors", number("errors", 0)),
    ],
}
