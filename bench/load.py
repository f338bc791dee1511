"""Load on a candidate: wrk for requests, the programs of `ringgate-bench` for the rest."""

from __future__ import annotations

import json
import os
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
    """What wrk saw. Times in seconds and µs; `errors` by kind."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
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
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    )
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse_wrk(done.stdout)


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
