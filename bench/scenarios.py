"""What is measured. Each scenario has one row here; `peers` says what it means for whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

INPUTS = Path(__file__).resolve().parent / "inputs"


class Kind(Enum):
    """What is counted."""

    REQUESTS = "CPU per request"
    STREAMS = "delay of an event"
    IDLE = "memory of an idle connection"


@dataclass(frozen=True)
class Duties:
    """What a candidate must do beside relaying. The same for all of them."""

    access_log: bool = False
    """One line per request in a file."""
    metrics: bool = False
    """Counters that can be scraped while it runs."""
    header_edits: bool = False
    """Set one request field, set one response field, remove one response field."""
    client_limit: bool = False
    """Limit the requests of each client address, to more than the load comes to."""
    tls: bool = False
    """Speak TLS with clients, with one ECDSA certificate, sessions and tickets as it comes."""
    ai: bool = False
    """Find the model in the body and choose the endpoint by it. Only Ringgate can."""


PLAIN = Duties()
GOVERNED = Duties(access_log=True, metrics=True, header_edits=True, client_limit=True)
PRIVATE = Duties(tls=True)
CHAT = Duties(access_log=True, ai=True)


@dataclass(frozen=True)
class Scenario:
    """One row of the comparison."""

    name: str
    title: str
    kind: Kind = Kind.REQUESTS
    duties: Duties = PLAIN
    path: str = "/bytes/128"
    connections: int = 64
    close: bool = False
    http2: bool = False
    """Clients speak HTTP/2, without TLS (prior knowledge)."""
    streams: int = 1
    """Requests that each connection has under way at a time; more than one only with `http2`."""
    default_buffers: bool = False
    """The peers relay through the buffers they have when nobody says anything."""
    body: Path | None = None


SCENARIOS = [
    Scenario("plain-128", "128 B reply, 64 keep-alive connections"),
    Scenario("plain-16k", "16 KiB reply, 64 keep-alive connections", path="/bytes/16384"),
    Scenario(
        "plain-16k-default",
        "the same, with the peers' default buffers",
        path="/bytes/16384",
        default_buffers=True,
    ),
    Scenario("close", "128 B reply, a connection per request", close=True),
    Scenario("tls", "128 B reply over TLS 1.3, 64 keep-alive connections", duties=PRIVATE),
    Scenario(
        "tls-handshakes",
        "128 B reply, a full TLS 1.3 handshake (ECDSA P-256) per request",
        duties=PRIVATE,
        connections=32,
        close=True,
    ),
    Scenario(
        "h2",
        "128 B reply over HTTP/2, 10 connections with 100 requests at a time each",
        connections=10,
        http2=True,
        streams=100,
    ),
    Scenario(
        "governed-128",
        "128 B reply with access log, metrics, header edits and a limit per client",
        duties=GOVERNED,
    ),
    Scenario(
        "chat",
        "chat completion, 1 KiB in, 1 KiB out, with access log; only Ringgate reads the body",
        duties=CHAT,
        path="/v1/chat/completions",
        body=INPUTS / "chat_request.json",
    ),
    Scenario(
        "streams",
        "1,000 event streams of 2 events/s, phases spread",
        kind=Kind.STREAMS,
        path="/events",
        connections=1000,
    ),
    Scenario(
        "idle",
        "8,000 idle keep-alive connections after one request each",
        kind=Kind.IDLE,
        connections=8000,
    ),
    Scenario(
        "idle-tls",
        "the same over TLS 1.3",
        kind=Kind.IDLE,
        duties=PRIVATE,
        connections=8000,
    ),
    Scenario(
        "idle-h2",
        "the same over HTTP/2",
        kind=Kind.IDLE,
        connections=8000,
        http2=True,
    ),
]


def named(names: list[str]) -> list[Scenario]:
    """The scenarios with these names, in the order of the table; all of them without names."""
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]
