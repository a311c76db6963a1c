"""The process in which LiteRT runs a whole model, for results to be held against."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tdse.runtime.litert import invoke, make_interpreter
from tdse.worker import end_with_parent


def main() -> None:
    """Entry point: ``... litert_worker MODEL INPUTS.npz OUTPUTS.npz CASES [reference]``.

    Several cases, one after the other, in one interpreter; ``reference`` takes the plain kernels
    that define the operators, without XNNPACK.
    """
    end_with_parent()
    model, inputs, outputs, cases, *kernels = sys.argv[1:]
    with np.load(inputs) as archive:
        arrays = [archive[name] for name in archive.files]
    count = len(arrays) // int(cases)
    results = []
    try:
        interpreter = make_interpreter(Path(model).read_bytes(), reference_kernels=bool(kernels))
        for i in range(int(cases)):
            values = invoke(interpreter, arrays[i * count : (i + 1) * count])
            results += [np.array(value) for value in values]
    except (RuntimeError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))
    np.savez(outputs, *results)
    print("{}")


if __name__ == "__main__":
    main()
