"""The rounds: candidates take turns, each turn is one row of raw numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import SubprocessError
from typing import TypeVar

from candidate import LOAD_CPU, AccessLog, Candidate, started
from cpu import CpuTime, cpu_time, resident_kib
from load import RequestLoad, client, send_http2_requests, send_requests
from peers import PEERS, UPSTREAM_PORT
from process import BenchError, Program, running, wait_until
from scenarios import Kind, Scenario
from syscalls import count_syscalls

WARM_UP_SECONDS = 1
SYSCALL_SECONDS = 1
# Few beside the connections to be held: what these leave behind in buffers shall not count.
IDLE_WARM_UP_CONNECTIONS = 64
# What settles within this time after the last idle connection belongs to the connections.
SETTLE_SECONDS = 1
# Requests of the check and those cut off at the end of a load may go unlogged or uncounted.
LOGGED_SHARE_MIN = 0.999

T = TypeVar("T")

# The stream client without a gateway: what upstream, client and kernel take by themselves.
DIRECT = "direct"


@dataclass(frozen=True)
class Plan:
    """What to run, and with what."""

    candidates: list[str]
    rounds: int
    seconds: int
    tool: Path
    """The `ringgate-bench` program."""
    programs: dict[str, str]
    """Programs that are not found in PATH, by candidate."""
    directory: Path
    """Scratch space for configurations and logs."""


@dataclass
class Result:
    """What a scenario has brought. `failures` make its figures worthless."""

    title: str
    kind: str
    rounds: list[dict] = field(default_factory=list)
    extra: dict[str, dict] = field(default_factory=dict)
    """By candidate: what is measured once."""
    failures: list[str] = field(default_factory=list)


def run(plan: Plan, scenario: Scenario, result: Result) -> None:
    """Measures one scenario. Rows taken before a failure stay in `result`."""
    steps = {
        Kind.REQUESTS: run_requests,
        Kind.STREAMS: run_streams,
        Kind.IDLE: run_idle,
    }
    try:
        with upstream(plan):
            steps[scenario.kind](plan, scenario, result)
    except (BenchError, OSError, SubprocessError) as error:
        result.failures.append(f"{scenario.name}: {error}")
        print(f"  failed: {error}", flush=True)
    except KeyboardInterrupt:
        result.failures.append(f"{scenario.name}: interrupted")
        raise


@contextmanager
def upstream(plan: Plan) -> Iterator[Program]:
    """The upstream of all candidates, on the CPU of the load."""
    command = [str(plan.tool), "upstream", "--port", str(UPSTREAM_PORT)]
    output = plan.directory / "upstream.stdout"
    output.unlink(missing_ok=True)
    with running("upstream", command, LOAD_CPU, plan.directory) as program:
        wait_until(program, lambda: b"ready" in output.read_bytes(), "not ready")
        yield program


def access_log(plan: Plan, scenario: Scenario, name: str) -> AccessLog:
    return AccessLog(plan.directory / f"{scenario.name}-{name}.log")


def start(stack: ExitStack, plan: Plan, scenario: Scenario, name: str) -> Candidate:
    """Starts a candidate that ends with the stack."""
    log = access_log(plan, scenario, name)
    return stack.enter_context(
        started(PEERS[name], scenario, plan.directory, log, plan.programs)
    )


def turns(count: int, candidates: list[T]) -> Iterator[tuple[int, T]]:
    """Every candidate once per round; each round in the opposite order of the one before."""
    for number in range(1, count + 1):
        for candidate in candidates if number % 2 else reversed(candidates):
            yield number, candidate


# Requests


def run_requests(plan: Plan, scenario: Scenario, result: Result) -> None:
    """CPU per request at full load, all candidates side by side, idle when it is not their turn."""
    sent: dict[str, int] = {name: 0 for name in plan.candidates}
    with ExitStack() as stack:
        candidates = [start(stack, plan, scenario, name) for name in plan.candidates]
        for candidate in candidates:
            sent[candidate.name] += load(scenario, candidate, WARM_UP_SECONDS).requests
        for number, candidate in turns(plan.rounds, candidates):
            row = request_round(scenario, candidate, plan.seconds, number)
            sent[candidate.name] += row["requests"]
            candidate.log.drain()
            record(scenario, result, row)
        for candidate in candidates:
            result.extra[candidate.name], requests = syscall_round(scenario, candidate)
            sent[candidate.name] += requests
        logs = {candidate.name: candidate.log for candidate in candidates}
    # The candidates have ended, and with that written what they still held.
    if scenario.duties.access_log:
        check_logs(scenario, result, logs, sent)


def load(scenario: Scenario, candidate: Candidate, seconds: int) -> RequestLoad:
    """The scenario's load on one candidate."""
    port = candidate.peer.port_of(scenario)
    if scenario.http2:
        return send_http2_requests(
            port, scenario.path, seconds, scenario.connections, scenario.streams, LOAD_CPU
        )
    return send_requests(
        port, scenario.path, seconds, scenario.connections, LOAD_CPU,
        scenario.close, scenario.body, scenario.duties.tls,
    )


def request_round(scenario: Scenario, candidate: Candidate, seconds: int, number: int) -> dict:
    """One turn of one candidate."""
    pids = candidate.program.pids()
    before = cpu_time(pids)
    seen = load(scenario, candidate, seconds)
    spent = cpu_time(pids) - before
    candidate.program.check_alive()
    if not seen.requests:
        raise BenchError(f"{candidate.name} answered nothing: {seen.errors}")
    return {
        "candidate": candidate.name,
        "round": number,
        "requests": seen.requests,
        "seconds": seen.seconds,
        **cost(spent, seen.requests, "request"),
        "utilisation": round(spent.run_ns / 1e9 / seen.seconds, 3),
        "requests_per_second": round(seen.requests / seen.seconds),
        "p50_us": seen.p50_us,
        "p99_us": seen.p99_us,
        "resident_kib": resident_kib(pids),
        "errors": seen.errors,
    }


def cost(spent: CpuTime, count: int, unit: str) -> dict[str, float]:
    """CPU time per request or event in µs; the ticks of its split are summed over the rounds."""
    return {
        f"cpu_us_per_{unit}": round(spent.run_ns / 1000 / count, 3),
        "user_ticks": spent.user_ticks,
        "system_ticks": spent.system_ticks,
    }


def syscall_round(scenario: Scenario, candidate: Candidate) -> tuple[dict, int]:
    """System calls per request, in a load of its own; also the requests of all its attempts."""
    loads = []
    counted = count_syscalls(
        candidate.program.pids(),
        lambda: loads.append(load(scenario, candidate, SYSCALL_SECONDS)),
    )
    candidate.program.check_alive()
    requests = sum(seen.requests for seen in loads)
    if counted is None or not loads[-1].requests:
        return {"syscalls_per_request": None}, requests
    per_request = round(counted.calls / loads[-1].requests, 2)
    return {"syscalls_per_request": per_request, "syscalls_by": counted.method}, requests


def check_logs(
    scenario: Scenario, result: Result, logs: dict[str, AccessLog], sent: dict[str, int]
) -> None:
    """A line for every request, or the candidate did not have the same work."""
    for name, log in logs.items():
        log.drain()
        share = log.lines / sent[name]
        result.extra[name]["logged_share"] = round(min(share, 1.0), 4)
        if share < LOGGED_SHARE_MIN:
            result.failures.append(
                f"{scenario.name}: {name} logged {share:.1%} of its requests"
            )


# Event streams


def run_streams(plan: Plan, scenario: Scenario, result: Result) -> None:
    """Delay of events through each candidate, and without one."""
    with ExitStack() as stack:
        candidates = [start(stack, plan, scenario, name) for name in plan.candidates]
        for number, candidate in turns(plan.rounds, [None, *candidates]):
            record(scenario, result, stream_round(plan, scenario, candidate, number))


def stream_round(
    plan: Plan, scenario: Scenario, candidate: Candidate | None, number: int
) -> dict:
    """One turn: opens all streams, waits for the first event of each, then measures."""
    name = candidate.name if candidate else DIRECT
    port = candidate.peer.port if candidate else UPSTREAM_PORT
    pids = candidate.program.pids() if candidate else []
    options = {"port": port, "count": scenario.connections, "seconds": plan.seconds}
    with client(plan.tool, "streams", options, LOAD_CPU, plan.seconds) as streams:
        streams.expect("measuring")
        before = cpu_time(pids)
        seen = json.loads(streams.expect("{"))
        spent = cpu_time(pids) - before
        resident = resident_kib(pids)
    errors = {"failed streams": seen.pop("failed")}
    if not seen["events"]:
        raise BenchError(f"{name} brought no events")
    return {
        "candidate": name,
        "round": number,
        **seen,
        **(cost(spent, seen["events"], "event") if pids else {}),
        "utilisation": round(spent.run_ns / 1e9 / plan.seconds, 3),
        "resident_kib": resident,
        "errors": {kind: count for kind, count in errors.items() if count},
    }


# Idle connections


def run_idle(plan: Plan, scenario: Scenario, result: Result) -> None:
    """Growth of resident memory per idle connection, in a fresh process each time.

    Memory hardly varies: two rounds show that, more would show nothing.
    """
    for number, name in turns(min(plan.rounds, 2), plan.candidates):
        with ExitStack() as stack:
            candidate = start(stack, plan, scenario, name)
            warm_up = replace(scenario, connections=IDLE_WARM_UP_CONNECTIONS)
            load(warm_up, candidate, WARM_UP_SECONDS)
            record(scenario, result, idle_round(plan, scenario, candidate, number))


def idle_round(plan: Plan, scenario: Scenario, candidate: Candidate, number: int) -> dict:
    """One candidate with all connections open."""
    before = resident_kib(candidate.program.pids())
    options = {"port": candidate.peer.port_of(scenario), "count": scenario.connections}
    with client(plan.tool, idle_client(scenario), options, LOAD_CPU, plan.seconds) as idle:
        idle.expect("holding")
        time.sleep(SETTLE_SECONDS)
        after = resident_kib(candidate.program.pids())
        idle.release()
        seen = json.loads(idle.expect("{"))
    closed = seen["connections"] - seen["open"]
    return {
        "candidate": candidate.name,
        "round": number,
        "connections": seen["connections"],
        "resident_kib_before": before,
        "resident_kib": after,
        "kib_per_connection": round((after - before) / seen["connections"], 3),
        "errors": {"closed connections": closed} if closed else {},
    }


def idle_client(scenario: Scenario) -> str:
    """The command of `ringgate-bench` that holds connections of this kind."""
    if scenario.http2:
        return "idle-h2"
    return "idle-tls" if scenario.duties.tls else "idle"


def record(scenario: Scenario, result: Result, row: dict) -> None:
    """Keeps a row, and says what matters of it while the bench runs."""
    result.rounds.append(row)
    shown = [
        f"{name} {row[name]}"
        for name in ("cpu_us_per_request", "requests_per_second", "p50_us", "p99_us",
                     "cpu_us_per_event", "kib_per_connection", "utilisation")
        if row.get(name) is not None
    ]
    print(f"  round {row['round']} {row['candidate']:<9}{', '.join(shown)}", flush=True)
    if row["errors"]:
        result.failures.append(
            f"{scenario.name}: {row['candidate']}, round {row['round']}: {row['errors']}"
        )
