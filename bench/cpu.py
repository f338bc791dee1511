"""What a program costs: CPU time from schedstat, its split from ticks, resident memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CpuTime:
    """CPU time of a process tree up to now; differences are what counts.

    `run_ns` is exact (schedstat). The split of user and system is sampled in ticks of 10 ms: good
    for its share over seconds of CPU time and nothing else. The time of a thread that ends
    between two readings is lost; the programs measured here keep theirs.
    """

    run_ns: int
    user_ticks: int
    system_ticks: int

    def __sub__(self, before: CpuTime) -> CpuTime:
        return CpuTime(
            self.run_ns - before.run_ns,
            self.user_ticks - before.user_ticks,
            self.system_ticks - before.system_ticks,
        )


def cpu_time(pids: list[int]) -> CpuTime:
    """Sums over all threads of all processes."""
    run_ns = user = system = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            run_ns += int((task / "schedstat").read_text().split()[0])
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(stat[11])
        system += int(stat[12])
    return CpuTime(run_ns, user, system)


def resident_kib(pids: list[int]) -> int:
    """Resident memory in KiB; pages that processes share are split between them (Pss).

    smaps_rollup walks the page tables: exact, where VmRSS lags by some pages per thread.
    """
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total
