#!/usr/bin/env python3
"""Floods of HTTP/2: frames that cost more than they are worth, a hundred thousand of each kind.

`make floods` runs it. A client sends frames until the gateway gives its connection up, connects
again, and goes on. A run fails when a connection is not given up, when memory grows, when the
frames cost more CPU time than such frames may, or when others are not served. The figures are
printed. The upstreams are `ringgate mock` and a listener that never answers; ports come from the
kernel.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slow import address, rss_kib, started

FRAMES = int(os.environ.get("RINGGATE_TEST_FLOOD_FRAMES", "100000"))
RSS_GROWTH_MAX_KIB = 8 * 1024
# Of a core, for as many frames as are sent. Resets that have reached an upstream cost a connection
# there each; everything else is cheap.
CPU_SECONDS_PER_100K = 5.0
# Frames of one connection before it must have been given up: far above any allowance.
FRAMES_PER_CONNECTION_MAX = 50_000
PATIENCE_SECONDS = 20
# Between two lots of frames: else the kernel would take what the gateway never reads.
GATEWAYS_TURN_SECONDS = 0.005

CONFIGURATION = """
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "public"
bind = "127.0.0.1:0"
http2 = true
[[route]]
path = "/silent"
cluster = "silent"
[[route]]
cluster = "mock"
[cluster.silent]
[[cluster.silent.endpoint]]
address = "{silent}"
[cluster.mock]
[[cluster.mock.endpoint]]
address = "{mock}"
"""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING = 0, 1, 2, 3, 4, 6
GOAWAY, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 7, 8, 9, 0xBB
END_STREAM, END_HEADERS = 0x1, 0x4
ENHANCE_YOUR_CALM = 11
INITIAL_WINDOW_SIZE = 4
CANCEL = struct.pack(">I", 8)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(path: bytes, method: bytes = b"\x82") -> bytes:
    """GET (or another method), http, a path of less than 127 bytes, and an authority."""
    return method + b"\x86\x04" + bytes([len(path)]) + path + b"\x01\x01a"


POST = b"\x83"
SILENT = block(b"/silent")


class Connection:
    """One connection of a client that reads nothing but what becomes of it."""

    def __init__(self, public: tuple[str, int], settings: bytes = b"") -> None:
        self.socket = socket.create_connection(public, PATIENCE_SECONDS)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.stream = 1
        self.received = b""
        self.goaway: int | None = None
        self.is_over = False

    def next_stream(self) -> int:
        self.stream += 2
        return self.stream - 2

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_over = True
        self.read(GATEWAYS_TURN_SECONDS)

    def read(self, patience: float) -> None:
        """Reads until nothing has come for this time, or to the end of the connection."""
        self.socket.settimeout(patience)
        try:
            while piece := self.socket.recv(1 << 16):
                self.read_frames(piece)
            self.is_over = True
        except TimeoutError:
            self.is_over |= self.goaway is not None
        except OSError:
            self.is_over = True
        self.socket.settimeout(PATIENCE_SECONDS)

    def read_frames(self, piece: bytes) -> None:
        self.received += piece
        while len(self.received) >= 9:
            length = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + length:
                return
            if self.received[3] == GOAWAY:
                self.goaway = int.from_bytes(self.received[13:17], "big")
            self.received = self.received[9 + length:]


Round = Callable[[Connection], int]
"""Sends some frames and says how many."""


def repeated(data: bytes) -> Round:
    def round_of(connection: Connection) -> int:
        connection.send(data * 1000)
        return 1000
    return round_of


def resets_at_once(connection: Connection) -> int:
    streams = [connection.next_stream() for _ in range(500)]
    connection.send(b"".join(
        frame(HEADERS, END_STREAM | END_HEADERS, stream, SILENT) + frame(RST_STREAM, 0, stream, CANCEL)
        for stream in streams
    ))
    return 2 * len(streams)


def resets_at_a_pace(connection: Connection) -> int:
    streams = [connection.next_stream() for _ in range(100)]
    heads = [frame(HEADERS, END_STREAM | END_HEADERS, stream, SILENT) for stream in streams]
    connection.send(b"".join(heads))
    time.sleep(0.02)
    connection.send(b"".join(frame(RST_STREAM, 0, stream, CANCEL) for stream in streams))
    return 2 * len(streams)


def continuations(connection: Connection) -> int:
    head = b"" if connection.stream > 1 else frame(HEADERS, END_STREAM, connection.next_stream(), SILENT)
    connection.send(head + frame(CONTINUATION, 0, 1) * 1000)
    return 1000


def empty_content(connection: Connection) -> int:
    head = b""
    if connection.stream == 1:
        head = frame(HEADERS, END_HEADERS, connection.next_stream(), block(b"/silent", POST))
    connection.send(head + frame(DATA, 0, 1) * 1000)
    return 1000


def windows_by_the_byte(connection: Connection) -> int:
    """Takes long answers a byte at a time."""
    if connection.stream == 1:
        streams = [connection.next_stream() for _ in range(50)]
        head = block(b"/bytes/16384")
        heads = [frame(HEADERS, END_STREAM | END_HEADERS, stream, head) for stream in streams]
        connection.send(b"".join(heads))
    one = struct.pack(">I", 1)
    streams = range(1, connection.stream, 2)
    connection.send(b"".join(frame(WINDOW_UPDATE, 0, stream, one) for stream in streams) * 20)
    return 20 * len(streams)


@dataclass
class Flood:
    name: str
    round: Round
    settings: bytes = b""


WINDOW = struct.pack(">I", 1)
FLOODS = [
    Flood("resets at once", resets_at_once),
    Flood("resets at a pace", resets_at_a_pace),
    Flood("CONTINUATION", continuations),
    Flood("SETTINGS", repeated(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)))),
    Flood("PING", repeated(frame(PING, 0, 0, bytes(8)))),
    Flood("PRIORITY", repeated(frame(PRIORITY, 0, 1, bytes(4) + b"\x01"))),
    Flood("WINDOW_UPDATE", repeated(frame(WINDOW_UPDATE, 0, 0, WINDOW))),
    Flood("unknown frames", repeated(frame(UNKNOWN, 0, 0, bytes(8)))),
    Flood("empty DATA", empty_content),
    Flood("windows by the byte", windows_by_the_byte, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)),
]


@dataclass
class Seen:
    """What became of a flood."""

    frames: int = 0
    connections: int = 0
    goaways: int = 0
    findings: list[str] = field(default_factory=list)


def attack(public: tuple[str, int], flood: Flood) -> Seen:
    seen = Seen()
    while seen.frames < FRAMES:
        connection = Connection(public, flood.settings)
        seen.connections += 1
        sent = 0
        while not connection.is_over and sent < FRAMES_PER_CONNECTION_MAX:
            sent += flood.round(connection)
        seen.frames += sent
        connection.read(PATIENCE_SECONDS)
        if not connection.is_over:
            seen.findings.append(f"a connection was not given up after {sent} frames")
            break
        # The reset that follows unread frames may overtake it.
        seen.goaways += connection.goaway == ENHANCE_YOUR_CALM
        connection.socket.close()
    return seen


def defend(gateway: subprocess.Popen, public: tuple[str, int], flood: Flood) -> list[str]:
    """What went wrong in this flood."""
    url = f"http://{public[0]}:{public[1]}/bytes/1"
    # The first of its kind leaves buffers behind that the others use again.
    attack(public, flood)
    memory, cpu = rss_kib(gateway), cpu_seconds(gateway)
    seen = attack(public, flood)
    cost = (cpu_seconds(gateway) - cpu) * 100_000 / seen.frames
    grown = rss_kib(gateway) - memory
    print(
        f"{flood.name}: {seen.frames} frames on {seen.connections} connections, "
        f"{seen.goaways} GOAWAY seen, {memory} KiB {grown:+} KiB, "
        f"{cost:.2f} s CPU per 100,000 frames", flush=True,
    )
    findings = seen.findings
    if not seen.goaways:
        findings.append("nobody heard GOAWAY")
    if grown > RSS_GROWTH_MAX_KIB:
        findings.append(f"memory grew by {grown} KiB")
    if cost > CPU_SECONDS_PER_100K:
        findings.append(f"100,000 frames took {cost:.1f} s of CPU time")
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as reply:
        if reply.status != 200:
            findings.append(f"others got {reply.status}")
    return [f"{flood.name}: {finding}" for finding in findings]


def cpu_seconds(process: subprocess.Popen) -> float:
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def silent() -> str:
    """The address of a listener that takes connections, reads them, and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)

    def serve() -> None:
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif not heard(key.fileobj):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()

    threading.Thread(target=serve, daemon=True).start()
    host, port = listener.getsockname()
    return f"{host}:{port}"


def heard(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1 << 16))
    except OSError:
        return False


def main() -> int:
    program, = sys.argv[1:] or ["target/quick/ringgate"]
    with tempfile.TemporaryDirectory() as folder, started(
        [program, "mock", "--bind", "127.0.0.1:0"]
    ) as (_, mock):
        file = Path(folder, "ringgate.toml")
        upstream = address(mock, r"([\d.]+:\d+)")
        file.write_text(CONFIGURATION.format(silent=silent(), mock=upstream))
        with started([program, "serve", "-c", str(file)]) as (gateway, ready):
            host, port = address(ready, r"public=(\S+)").split(":")
            public = (host, int(port))
            findings = [found for flood in FLOODS for found in defend(gateway, public, flood)]
    print("\n".join(findings) or "held")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
