#!/usr/bin/env python3
"""Slow clients by the hundreds: slowhttptest against a gateway with short deadlines.

`make slow` runs it, in under a minute. A run fails when connections outlive their deadline and what
it grants, when the gateway stopped serving others meanwhile, or when its memory grew by more than
the bound. The upstream is `ringgate mock`; ports come from the kernel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

CONNECTIONS_PER_SECOND = 500
DEADLINE_SECONDS = 5
# The deadline, the time to open all connections, and as much again for a busy machine.
ATTACK_SECONDS = 4 * DEADLINE_SECONDS
RSS_GROWTH_MAX_KIB = 16 * 1024

CONFIGURATION = """
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "public"
bind = "127.0.0.1:0"
limits = {{ body_rate = "1KiB/s" }}
timeouts = {{ request_head = "{deadline}s", request_body = "{deadline}s", keep_alive = "{deadline}s" }}
[[route]]
cluster = "mock"
[cluster.mock]
timeouts = {{ idle = "{deadline}s" }}
[[cluster.mock.endpoint]]
address = "{upstream}"
"""


@dataclass
class Attack:
    name: str
    target: str
    connections: int
    options: list[str]


ATTACKS = [
    Attack("slow heads", "/bytes/128", 1000, ["-H", "-i", "1", "-x", "8"]),
    Attack("slow bodies", "/bytes/128", 1000, ["-B", "-i", "1", "-x", "8", "-s", "1000000"]),
    # Each answer is larger than what the sockets on its way take. What the client's own socket has
    # is read before a reset is seen, so the reads are not of single bytes.
    Attack(
        "slow readers", "/bytes/16777216", 200,
        ["-X", "-n", "1", "-z", "512", "-w", "512", "-y", "1024"],
    ),
]

ALL_CLOSED = "No open connections left"


def main() -> int:
    program, = sys.argv[1:] or ["target/quick/ringgate"]
    if not shutil.which("slowhttptest"):
        sys.exit("slow.py needs slowhttptest: apt-get install slowhttptest")
    with tempfile.TemporaryDirectory() as folder, started(
        [program, "mock", "--bind", "127.0.0.1:0"]
    ) as (_, mock):
        file = Path(folder, "ringgate.toml")
        upstream = address(mock, r"([\d.]+:\d+)")
        file.write_text(CONFIGURATION.format(deadline=DEADLINE_SECONDS, upstream=upstream))
        with started([program, "serve", "-c", str(file)]) as (gateway, ready):
            public = address(ready, r"public=(\S+)")
            findings = [found for attack in ATTACKS for found in defend(gateway, public, attack)]
    print("\n".join(findings) or "held")
    return 1 if findings else 0


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """The process, and the first line that it prints."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()


def address(line: str, pattern: str) -> str:
    found = re.search(pattern, line)
    if not found:
        sys.exit(f"no address in: {line!r}")
    return found.group(1)


def defend(gateway: subprocess.Popen, public: str, attack: Attack) -> list[str]:
    """What went wrong in this attack."""
    before = rss_kib(gateway)
    said = run(public, attack)
    ended = re.search(r"Test ended on (\d+)", said)
    grown = rss_kib(gateway) - before
    after = f"after {ended.group(1)} s" if ended else "never"
    print(f"{attack.name}: {attack.connections} connections ended {after}, {grown:+} KiB", flush=True)
    findings = []
    if not ended or ALL_CLOSED not in said:
        findings.append(f"{attack.name}: connections outlived their deadline")
    if "NO" in re.findall(r"service available:\s*(\w+)", said):
        findings.append(f"{attack.name}: others were not served")
    if grown > RSS_GROWTH_MAX_KIB:
        findings.append(f"{attack.name}: memory grew by {grown} KiB")
    return findings


def run(public: str, attack: Attack) -> str:
    command = [
        "slowhttptest", *attack.options, "-u", f"http://{public}{attack.target}",
        "-c", str(attack.connections), "-r", str(CONNECTIONS_PER_SECOND), "-l", str(ATTACK_SECONDS),
        "-p", "3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * ATTACK_SECONDS)
    # Its report is coloured.
    return re.sub(r"\x1b\[[\d;]*\w", "", done.stdout)


def rss_kib(process: subprocess.Popen) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", status).group(1))


if __name__ == "__main__":
    sys.exit(main())
