"""The cores that a process may use, by the quota of its control groups; and how its threads wait for each other."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from textvae.cores import cpu_quota, usable_cores
from textvae.processes import this_process

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NESTED = {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000", "cpu.max": "800000 100000"}


@pytest.mark.parametrize(
    ("files", "of_process", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "150000 100000\n"}, "0::/not/in/this/container\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", math.inf),
        (NESTED, "0::/a/b\n", 4),
        (NESTED, "0::/\n", 8),
        (NESTED, "0::/../../a\n", 8),
        ({"cpu/d/cpu.cfs_quota_us": "50000\n", "cpu/d/cpu.cfs_period_us": "25000\n"}, "4:cpu,cpuacct:/d\n", 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1:cpu:/\n0::/\n", math.inf),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "2:cpuacct:/\n1:cpu:/x\n", 3),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, "1:cpu:/\n", math.inf),
        ({"cpu.max": "200000 100000"}, "9:name=systemd:/\n8:memory:/\n", math.inf),
        ({"cpu.max": "?"}, "0::/\n", math.inf),
    ],
)
def test_the_quota_is_the_least_of_all_groups(tmp_path, files, of_process, cores):
    groups = tmp_path / "cgroup"
    for name, content in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(content)
    (tmp_path / "of_process").write_text(of_process)
    assert cpu_quota(groups, tmp_path / "of_process") == cores


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins a process to cores")
def test_a_process_that_is_pinned_has_no_more_cores():
    all_cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(all_cores)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, all_cores)
    assert 1 <= usable_cores() <= len(all_cores)


@pytest.mark.parametrize(("chosen", "threads"), [(None, 2), ("5", 5)])
def test_threads_are_not_more_than_cores_unless_the_user_chose_them(monkeypatch, chosen, threads):
    monkeypatch.setattr("textvae.processes.usable_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        this_process()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="other OpenMP libraries show it in other words")
@pytest.mark.parametrize(("chosen", "used"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_the_threads_of_a_recipe_wait_briefly_unless_the_user_says_otherwise(chosen, used):
    """What the library itself says that it has read, which it does as torch is loaded."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = {**inherited, "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "VERBOSE", **chosen}
    command = [sys.executable, str(ROOT / "recipes" / "train.py"), "--none"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert f"GOMP_SPINCOUNT = '{used}'" in done.stderr and "no flag '--none'" in done.stderr
