"""What the figures were taken on and with: a number without this is not a result."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client",
    "strace": "strace",
}
"""Debian package by program."""

OPTIONAL = {"strace"}


def search_sbin() -> None:
    """Debian keeps servers in sbin, which is not in every PATH."""
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def install(programs: list[str]) -> None:
    """Installs the Debian packages of those programs that are missing."""
    missing = [PACKAGES[name] for name in programs if not shutil.which(name)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        needed = [name for name in missing if name not in OPTIONAL]
        if needed:
            sys.exit(f"bench needs {', '.join(needed)}: install them, or run it as root on Debian")
        return
    print(f"installing {', '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    # Their services would start at installation, and take ports and CPU time.
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends",
         "-o", "DPkg::Options::=--force-confold", *missing],
        check=True, env={**environment, "RUNLEVEL": "1"},
    )


def build(root: Path, with_ringgate: bool) -> None:
    """Builds what is measured and what measures, in the profile that ships."""
    packages = ["-p", "ringgate-bench", *(["-p", "ringgate"] if with_ringgate else [])]
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    subprocess.run([*cargo, "build", "--release", "--locked", *packages], cwd=root, check=True)


def describe(root: Path, programs: dict[str, str], candidates: list[str]) -> dict:
    """Machine, kernel, settings, versions, time and command."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python3", *sys.argv]),
        "commit": commit(root),
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": os.getloadavg(),
        "versions": versions(programs, candidates),
        "build": f"cargo build --release; RUSTFLAGS={os.environ.get('RUSTFLAGS', '')!r}",
        "placement": "program under test on CPU 0 with one worker; upstream and load on CPU 1",
    }


def commit(root: Path) -> str:
    """The commit of the tree, and whether it has been changed since."""
    head = said(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    changed = said(["git", "-C", str(root), "status", "--porcelain", "--", "src", "Cargo.lock"])
    return f"{head} with changes" if changed else head


def processor() -> str:
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions(programs: dict[str, str], candidates: list[str]) -> dict[str, str]:
    """The first line that each program says of its version."""
    commands = {
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "ringgate": [programs["ringgate"], "--version"],
        "wrk": ["wrk", "-v"],
        "h2load": ["h2load", "--version"],
        "rustc": ["rustc", "--version"],
    }
    wanted = [*candidates, "wrk", "h2load", "rustc"]
    return {name: said(commands[name]).split("\n")[0] for name in wanted}


def said(command: list[str]) -> str:
    """What a command prints on either output; nothing when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def read(path: str) -> str:
    """A file of /proc or /sys; empty when this machine lacks it."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
