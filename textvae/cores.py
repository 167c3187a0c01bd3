"""The CPU cores that this process may use."""

import math
import os
import sys
from pathlib import Path


def usable_cores() -> int:
    """The cores that this process may run on, but no more than its control groups give it time for; at least 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return max(1, int(min(cores or 1, cpu_quota())))


def cpu_quota(groups: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")) -> float:
    """How many cores' time the control groups of this process give it; infinite if they set no limit, or are none.

    Args:
        groups: where the control groups are: of version 2, and in `cpu` those of version 1.
        of_process: lists those of the process, as `0::/a/b` or `4:cpu,cpuacct:/a/b`.
    """
    try:
        lines = of_process.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers or "cpu" in controllers.split(","):
            top = groups / "cpu" if controllers else groups
            group = top / path.lstrip("/")  # in a container it may be missing, and `top` is the container's own
            quotas += [_quota(place) for place in (group, *group.parents) if place.is_relative_to(top)]
    return min(quotas)


def _quota(group: Path) -> float:
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = map(int, " ".join((group / name).read_text() for name in names).split())
        except (OSError, ValueError):  # no such file, or `max` for no limit
            continue
        if quota > 0:
            return quota / period
    return math.inf
