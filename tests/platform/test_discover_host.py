import os

import pytest

from tdse.platform import discover_host
from tdse.platform.cgroup import cpu_limit, memory_limit
from tdse.platform.discover import _triple
from tdse.processor import CODE_FEATURES, architecture

X86 = """\
processor\t: 0
model name\t: Fast CPU @ 3.00GHz
flags\t\t: fpu cx8 cmov mmx fxsr sse sse2 hypervisor pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm \
avx avx2 bmi1 bmi2 f16c fma abm movbe xsave

processor\t: 1
model name\t: Fast CPU @ 3.00GHz
flags\t\t: fpu cx8 cmov mmx fxsr sse sse2 hypervisor pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm
"""

RPI4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

Revision\t: c03111
Serial\t\t: 0000000000000000
Model\t\t: Raspberry Pi 4 Model B Rev 1.1
"""

MOUNTS = """\
30 23 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 bad line
"""


@pytest.fixture
def machine(tmp_path):
    """Writes files of a made-up machine below a folder that stands for the root."""

    def build(**files):
        for name, text in files.items():
            path = tmp_path / PATHS[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return tmp_path

    return build


PATHS = {
    "cpuinfo": "proc/cpuinfo",
    "meminfo": "proc/meminfo",
    "board": "proc/device-tree/model",
    "groups": "proc/self/cgroup",
    "mounts": "proc/self/mountinfo",
    "v2_cpu": "sys/fs/cgroup/unified/a/b/cpu.max",
    "v2_cpu_above": "sys/fs/cgroup/unified/a/cpu.max",
    "v2_memory": "sys/fs/cgroup/unified/a/b/memory.max",
    "v2_memory_top": "sys/fs/cgroup/unified/memory.max",
    "v1_quota": "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us",
    "v1_period": "sys/fs/cgroup/cpu/a/cpu.cfs_period_us",
    "v1_quota_top": "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "v1_period_top": "sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "v1_memory": "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
}


def find(root, machine="x86_64", affinity=(0, 1)):
    found = discover_host(root, machine=machine, affinity=affinity)
    assert (found.name, found.source, len(found.devices)) == ("host", "found", 1)
    return found.devices[0]


def test_this_machine():
    host = discover_host()
    cpu = host.devices[0]
    assert (cpu.name, cpu.targets) == ("cpu", ("litert", "llvm"))
    assert 1 <= cpu.cores <= len(os.sched_getaffinity(0))
    assert cpu.isa == os.uname().machine
    assert cpu.memory_bytes > 0
    assert cpu.features
    assert host.is_host(host)


def test_affinity_limits_the_cores():
    everything = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everything)})
        assert discover_host().devices[0].cores == 1
    finally:
        os.sched_setaffinity(0, everything)


def test_an_x86_machine(machine):
    root = machine(cpuinfo=X86, meminfo="MemTotal:       1000 kB\nMemFree: 10 kB\n")
    cpu = find(root, affinity=[0])
    assert cpu.cores == 1
    assert cpu.triple == "x86_64-linux-gnu"
    assert cpu.mcpu == "x86-64-v3"
    assert cpu.model_name == "Fast CPU @ 3.00GHz"
    assert cpu.memory_bytes == 1_024_000
    assert "avx2" in cpu.features
    assert "hypervisor" not in cpu.features
    assert list(cpu.features) == sorted(cpu.features)


def test_only_what_all_usable_processors_have(machine):
    root = machine(cpuinfo=X86)
    cpu = find(root)
    assert cpu.cores == 2
    assert cpu.mcpu == "x86-64-v2"
    assert "avx2" not in cpu.features


def test_a_raspberry_pi(machine):
    root = machine(cpuinfo=RPI4, board="Raspberry Pi 4 Model B Rev 1.1\0")
    cpu = find(root, "aarch64", range(4))
    assert cpu.triple == "aarch64-linux-gnu"
    assert cpu.mcpu == "cortex-a72"
    assert cpu.features == ("asimd", "crc32", "fp")
    assert cpu.model_name == "Raspberry Pi 4 Model B Rev 1.1"
    assert set(cpu.features) <= CODE_FEATURES


def test_a_board_without_device_tree(machine):
    assert find(machine(cpuinfo=RPI4), "aarch64").model_name == "Raspberry Pi 4 Model B Rev 1.1"
    nameless = RPI4.split("Revision\t: c")[0]
    assert find(machine(cpuinfo=nameless), "aarch64").model_name == "cortex-a72"


def test_big_and_little_cores(machine):
    blocks = [
        f"processor: {index}\nFeatures: fp asimd asimddp {more}\nCPU implementer: 0x41\n"
        f"CPU part: {part}\n"
        for index, (part, more) in enumerate([("0xd05", ""), ("0xd0b", "sve"), ("0xd0b", "sve")])
    ]
    root = machine(cpuinfo="\n".join(blocks))
    cpu = find(root, "aarch64", [0, 1, 2])
    assert (cpu.mcpu, cpu.features) == ("cortex-a76", ("asimd", "asimddp", "fp"))
    assert find(root, "aarch64", [0]).mcpu == "cortex-a55"
    assert find(root, "aarch64", [1]).features == ("asimd", "asimddp", "fp", "sve")


def test_an_unknown_arm_core(machine):
    root = machine(cpuinfo="processor: 0\nCPU implementer: 0x99\nCPU part: nonsense\n")
    assert find(root, "aarch64", [0]).mcpu == ""


def test_a_system_that_tells_nothing(tmp_path):
    cpu = find(tmp_path, "riscv64", [0])
    assert (cpu.cores, cpu.triple, cpu.mcpu, cpu.features) == (1, "riscv64-linux-gnu", "", ())
    assert (cpu.model_name, cpu.memory_bytes) == ("", None)


def test_architecture_of_the_process(monkeypatch):
    assert architecture("arm64") == "aarch64"
    assert architecture("AMD64") == "x86_64"
    monkeypatch.setattr("struct.calcsize", lambda _: 4)
    assert architecture("aarch64") == "armv7l"
    assert architecture("x86_64") == "i686"
    assert _triple("armv7l") == "armv7l-linux-gnueabihf"
    monkeypatch.setattr("sys.platform", "darwin")
    assert _triple("aarch64") == "aarch64-apple-darwin"


def test_systems_without_affinity(monkeypatch, machine):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert discover_host(machine(cpuinfo=X86), machine="x86_64").devices[0].cores == 3


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", None), ("100000 100000", 1), ("150000 100000", 2), ("5000 100000", 1)],
)
def test_cpu_quota_of_version_2_is_rounded_up(machine, quota, cores):
    root = machine(groups="0::/a/b\n", mounts=MOUNTS, v2_cpu=quota)
    assert cpu_limit(root) == cores


def test_the_tightest_group_counts(machine):
    root = machine(
        groups="0::/a/b\n", mounts=MOUNTS, v2_cpu="400000 100000", v2_cpu_above="200000 100000"
    )
    assert cpu_limit(root) == 2
    assert find(machine(cpuinfo=X86), affinity=range(8)).cores == 2


def test_more_quota_than_cores(machine):
    root = machine(groups="0::/a/b\n", mounts=MOUNTS, v2_cpu="900000 100000", cpuinfo=X86)
    assert find(root).cores == 2


def test_cpu_quota_of_version_1(machine):
    files = {"groups": "4:memory:/a\n2:cpu,cpuacct:/a\n", "mounts": MOUNTS}
    root = machine(**files, v1_quota=250000, v1_period=100000, v1_quota_top=-1, v1_period_top=100)
    assert cpu_limit(root) == 3
    assert cpu_limit(machine(v1_quota=-1)) is None
    assert cpu_limit(machine(v1_quota=1000, v1_period=0)) is None


def test_a_container_sees_its_own_group_at_the_top(machine):
    mounts = (
        "32 31 0:29 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "33 31 0:29 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    root = machine(
        groups="2:cpu:/docker/x\n3:memory:/docker/x/a\n",
        mounts=mounts,
        v1_quota_top=100000,
        v1_period_top=100000,
        v1_memory=12345,
    )
    assert cpu_limit(root) == 1
    assert memory_limit(root) == 12345
    # A group outside of what is mounted: the top of the mount is the best that is known.
    assert cpu_limit(machine(groups="2:cpu:/elsewhere\n")) == 1


def test_memory_of_the_group(machine):
    root = machine(
        groups="0::/a/b\n",
        mounts=MOUNTS,
        v2_memory="max",
        v2_memory_top="500000",
        meminfo="MemTotal: 1000 kB\n",
        cpuinfo=X86,
    )
    assert memory_limit(root) == 500_000
    assert find(root).memory_bytes == 500_000


def test_version_1_without_a_memory_limit(machine):
    root = machine(
        groups="4:memory:/a\n",
        mounts=MOUNTS,
        v1_memory=9223372036854771712,
        meminfo="MemTotal: 1000 kB\n",
    )
    assert find(root).memory_bytes == 1_024_000


def test_no_control_groups(tmp_path):
    assert cpu_limit(tmp_path) is None
    assert memory_limit(tmp_path) is None
