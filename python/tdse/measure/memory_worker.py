"""The process that ``measure_memory`` starts: load a runtime module, run it, print JSON.

It loads what ``tdse.load`` loads for the module, which is TVM's runtime for devices of TVM's only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tdse.runtime import native
from tdse.runtime.c_executor import runtime_library
from tdse.runtime.model import model_by_position

# The first run touches what is allocated; a second may set up what the first has found to be
# needed.
_RUNS = 3
_PROC = Path("/proc/self")


def main() -> None:
    """Entry point of ``python -m tdse.measure.memory_worker MODULE``."""
    module = sys.argv[1]
    start = status()
    runtime_library()
    runtime = status()
    # What loading it took meanwhile and gave back is no part of the peak.
    (_PROC / "clear_refs").write_text("5")
    model = model_by_position(native.load_executor(module))
    inputs = model.random_inputs(0)
    for _ in range(_RUNS):
        model.run(inputs)
    end = status()
    reading = {
        "runtime_bytes": runtime["VmRSS"] - start["VmRSS"],
        "peak_bytes": end["VmHWM"] - start["VmRSS"],
        "resident_bytes": end["VmRSS"] - start["VmRSS"],
        "runtime_private_bytes": runtime["RssAnon"] - start["RssAnon"],
        "private_bytes": end["RssAnon"] - start["RssAnon"],
        "arena_bytes": model.arena_bytes,
    }
    print(json.dumps(reading))


def status() -> Mapping[str, int]:
    """Sizes that the kernel tells of this process, bytes."""
    sizes = {}
    for line in (_PROC / "status").read_text().splitlines():
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[key] = int(value.split()[0]) * 1024
    return sizes


if __name__ == "__main__":
    main()
