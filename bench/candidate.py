"""A candidate at work: started for a scenario, checked to do its duties, its log counted."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import CERTIFICATE, REMOVED_FIELD, REQUEST_FIELD, RESPONSE_FIELD, Peer
from process import BenchError, Program, running, wait_until
from scenarios import Duties, Kind, Scenario

UNDER_TEST_CPU = 0
LOAD_CPU = 1

CHAT_REPLY_BYTES = 1024
READ_BYTES = 1 << 20


@dataclass
class AccessLog:
    """The log file of one candidate: lines are counted and then thrown away."""

    file: Path
    lines: int = 0

    def drain(self) -> None:
        """Counts what has been written and empties the file, which its writer appends to."""
        if not self.file.exists():
            return
        with open(self.file, "rb+") as log:
            while piece := log.read(READ_BYTES):
                self.lines += piece.count(b"\n")
            log.truncate(0)


@dataclass(frozen=True)
class Candidate:
    """A running peer, ready for load."""

    peer: Peer
    program: Program
    log: AccessLog

    @property
    def name(self) -> str:
        return self.peer.name


@contextmanager
def started(
    peer: Peer, scenario: Scenario, directory: Path, log: AccessLog, programs: dict[str, str]
) -> Iterator[Candidate]:
    """Runs the peer as the scenario wants it; the context begins when it answers correctly."""
    name = f"{scenario.name}-{peer.name}"
    configuration = directory / f"{name}.conf"
    if scenario.duties.tls:
        certify(directory)
    configuration.write_text(peer.configuration(scenario, log.file))
    command = peer.command(programs.get(peer.name, peer.program), configuration)
    output = log.file if peer.logs_to_stdout and scenario.duties.access_log else None
    with running(name, command, UNDER_TEST_CPU, directory, output) as program:
        wait_until(program, lambda: answers(peer.port, scenario.duties.tls), "no answer")
        check_reply(peer, scenario)
        check_duties(peer, scenario.duties)
        yield Candidate(peer, program, log)


def certify(directory: Path) -> None:
    """Makes a certificate and its key, in one file for all candidates."""
    file = directory / CERTIFICATE
    if file.exists():
        return
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=bench", "-keyout", str(file), "-out", str(file.with_suffix(".crt"))]
    subprocess.run([*words.split(), *subject], check=True, capture_output=True)
    with open(file, "a") as both:
        both.write(file.with_suffix(".crt").read_text())


def answers(port: int, tls: bool) -> bool:
    """Whether a request comes through to the upstream and back."""
    try:
        return fetch(port, "GET", "/bytes/1", tls=tls).body == b"x"
    except (OSError, http.client.HTTPException):
        return False


@dataclass(frozen=True)
class Reply:
    """A whole response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def fetch(
    port: int, method: str, path: str, body: bytes | None = None, tls: bool = False
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    if tls:
        anybody = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=anybody)
    try:
        fields = {"content-type": "application/json"} if body else {}
        connection.request(method, path, body, fields)
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read())
    finally:
        connection.close()


def check_reply(peer: Peer, scenario: Scenario) -> None:
    """One request of the kind that the load will send; streams are checked by their client."""
    if scenario.kind is Kind.STREAMS:
        return
    if scenario.body:
        reply = fetch(peer.port, "POST", scenario.path, scenario.body.read_bytes())
        wanted = CHAT_REPLY_BYTES
    else:
        reply = fetch(peer.port, "GET", scenario.path, tls=scenario.duties.tls)
        wanted = int(scenario.path.rpartition("/")[2])
    if reply.status != 200 or len(reply.body) != wanted:
        raise BenchError(
            f"{peer.name}: {scenario.path} gave {reply.status} and {len(reply.body)} bytes, "
            f"not 200 and {wanted}: {reply.body[:200]!r}"
        )


def check_duties(peer: Peer, duties: Duties) -> None:
    """A candidate that leaves out its duties would win. Log lines are counted after the load."""
    if duties.header_edits:
        reply = fetch(peer.port, "GET", "/echo")
        seen_upstream = ": ".join(REQUEST_FIELD) in reply.body.decode("latin-1").lower()
        seen_downstream = reply.headers.get(RESPONSE_FIELD[0]) == RESPONSE_FIELD[1]
        if not seen_upstream or not seen_downstream or REMOVED_FIELD in reply.headers:
            raise BenchError(f"{peer.name} does not edit the headers as told")
    if duties.metrics and fetch(peer.metrics_port, "GET", peer.metrics_path).status != 200:
        raise BenchError(f"{peer.name} does not serve its metrics")
