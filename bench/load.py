"""Load on a candidate: wrk and h2load for requests, `ringgate-bench` for the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from process import BenchError

HERE = Path(__file__).resolve().parent

# Beyond its own duration, before a load generator is taken for stuck.
GRACE_SECONDS = 30


@dataclass(frozen=True)
class RequestLoad:
    """What the load generator saw. Times in seconds and µs; `errors` by kind."""

    requests: int
    seconds: float
    p50_us: int | None
    """h2load tells no percentiles."""
    p99_us: int | None
    errors: dict[str, int]


def send_requests(
    port: int, path: str, seconds: int, connections: int, cpu: int,
    close: bool = False, body: Path | None = None, tls: bool = False,
) -> RequestLoad:
    """Keeps `connections` busy with one request at a time each. The duration is whole seconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "wrk.lua")]
    if close:
        command += ["-H", "Connection: close"]
    command.append(f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}")
    if body:
        command += ["--", str(body)]
    return parse_wrk(said_by(command, seconds, cpu))


def send_http2_requests(
    port: int, path: str, seconds: int, connections: int, streams: int, cpu: int
) -> RequestLoad:
    """Keeps `streams` requests under way on each connection, by prior knowledge."""
    command = [
        "h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}",
        f"http://127.0.0.1:{port}{path}",
    ]
    return parse_h2load(said_by(command, seconds, cpu))


def said_by(command: list[str], seconds: int, cpu: int) -> str:
    """What a load generator prints, which has `seconds` for its load."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    )
    if done.returncode != 0:
        raise BenchError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def parse_wrk(output: str) -> RequestLoad:
    """Reads the JSON line that wrk.lua writes after wrk's own text."""
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    return RequestLoad(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        errors={kind: count for kind, count in found["errors"].items() if count},
    )


H2LOAD_FINISHED = re.compile(r"^finished in ([\d.]+)(s|ms)", re.MULTILINE)
H2LOAD_REQUESTS = re.compile(
    r"^requests:.* (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
H2LOAD_STATUS = re.compile(r"^status codes: (\d+) 2xx", re.MULTILINE)


def parse_h2load(output: str) -> RequestLoad:
    """Reads the summary of a load of a given duration."""
    finished, counts, good = (
        pattern.search(output) for pattern in (H2LOAD_FINISHED, H2LOAD_REQUESTS, H2LOAD_STATUS)
    )
    if not (finished and counts and good):
        raise BenchError(f"h2load has no summary: {output}")
    done, failed, errored, timeout = map(int, counts.groups())
    errors = {
        "failed": failed, "errored": errored, "timeout": timeout,
        # Responses that have begun and not ended are counted, too.
        "status": max(done - int(good.group(1)), 0),
    }
    return RequestLoad(
        requests=done,
        seconds=float(finished.group(1)) / (1 if finished.group(2) == "s" else 1000),
        p50_us=None,
        p99_us=None,
        errors={kind: count for kind, count in errors.items() if count},
    )


class Client:
    """A running client of `ringgate-bench`, read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout and process.stderr, "made with pipes"
        self.input, self.output, self.errors = process.stdin, process.stdout, process.stderr

    def expect(self, beginning: str) -> str:
        """The next line, which must begin as told."""
        line = self.output.readline()
        if not line.startswith(beginning):
            said = (line + self.errors.read()).strip() or "nothing"
            raise BenchError(f"the client did not say {beginning!r}, but {said}")
        return line

    def release(self) -> None:
        """Ends the client's standard input, for which `idle` waits."""
        self.input.close()


@contextmanager
def client(
    tool: Path, command: str, options: dict[str, int], cpu: int, seconds: int
) -> Iterator[Client]:
    """Runs a client and ends it in any case.

    The time limit is kept by timeout(1), so that reading a line cannot block for ever.
    """
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with subprocess.Popen(
        ["timeout", str(seconds + GRACE_SECONDS), str(tool), command, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    ) as process:
        try:
            yield Client(process)
        finally:
            process.terminate()
