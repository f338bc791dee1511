"""A private network for the bench, and the certainty that nothing outlives it.

The bench runs itself again inside new network and process namespaces. The network namespace
has its own loopback, ports and TCP settings: a machine whose default congestion control is bbr
paces loopback and distorts every figure. The process namespace ends all programs of the bench
with its first process, even if that one is killed.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from process import descendants

INSIDE = "RINGGATE_BENCH_INSIDE"
PATIENCE_SECONDS = 15
# For 8,000 idle connections through a gateway that keeps two descriptors ready for each.
DESCRIPTORS_MIN = 20000

TCP_SETTINGS = {
    "tcp_congestion_control": "reno",
    # Clients that close make a connection per request: they need ports, and need them again.
    "ip_local_port_range": "20000 65535",
    "tcp_tw_reuse": "1",
}


def is_inside() -> bool:
    """Whether this process is the one that runs in the namespaces."""
    return INSIDE in os.environ


def run_inside() -> int:
    """Runs this program with the same arguments inside; returns its exit code."""
    unshare = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    command = [*unshare, sys.executable, *sys.argv]
    # A session of its own: Ctrl-C comes here, and from here once, not to all programs at a time.
    inside = subprocess.Popen(command, env={**os.environ, INSIDE: "1"}, start_new_session=True)
    try:
        return inside.wait()
    finally:
        if inside.poll() is None:
            end(inside)


def end(inside: subprocess.Popen[bytes]) -> None:
    """Lets the inner process write what it has, then ends everything inside.

    unshare(1) itself ignores TERM. When it is killed, so is its child, and with that the rest.
    """
    for pid in descendants(inside.pid)[1:2]:
        os.kill(pid, signal.SIGTERM)
    try:
        inside.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        inside.kill()
        inside.wait()


def prepare() -> None:
    """Makes the namespace usable: loopback, TCP settings, enough descriptors."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in TCP_SETTINGS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS_MIN:
        sys.exit(f"bench needs {DESCRIPTORS_MIN} descriptors, and may have {hard}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_on_sigterm() -> None:
    """Makes TERM unwind the stack like Ctrl-C, so that programs are ended and files written."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
