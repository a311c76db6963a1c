"""A coverage-guided fuzzer of the reader and the slices; no test, and run by hand.

It needs atheris (``pip install atheris``), and runs until it finds a fault or is told to end::

    python tests/fuzz/fuzz_reader.py build/corpus -max_total_time=3600 -timeout=30

The corpus begins as the sound models of the tests. What it finds belongs into ``test_cases.py``.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from random import Random

import atheris

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent / "examples"), str(TESTS / "fuzz")]

with atheris.instrument_imports(include=["tdse.graph", "ai_edge_litert.schema_py_generated"]):
    from examiner import read
    from mutations import bases, edited

    from tdse.errors import TdseError


def check(data: bytes) -> None:
    """Read a model and cut it; raises what is not a clean error."""
    with contextlib.suppress(TdseError):
        read(data)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the changes respect the format, so that they get past the verifier."""
    random = Random(seed)
    if random.random() < 0.5:
        changed = edited(random, data or b"\0")
        if len(changed) <= max_size:
            return changed
    return bytes(atheris.Mutate(data, max_size))


def main() -> None:
    """Run until a fault or the end that the options ask for."""
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            Path(argument).mkdir(parents=True, exist_ok=True)
            for name, data in bases().items():
                (Path(argument) / name).write_bytes(data)
    atheris.Setup([*sys.argv, "-max_len=16384"], check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
