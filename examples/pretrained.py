"""A pretrained model all the way, from its file to a report.

    pip download --no-deps mediapipe==0.10.14
    python examples/pretrained.py mediapipe-0.10.14-*.whl out/

MediaPipe's wheel holds a detector of faces, float16 weights and float32 arithmetic, 128 x 128
pixels. It is placed on this machine, run on a picture, timed against LiteRT, and shown.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import tdse
from tdse.bench import bench
from tdse.images import read_image
from tdse.report import write_report

MODEL = "mediapipe/modules/face_detection/face_detection_short_range.tflite"


def main(wheel: str, out: str, picture: str | None, budget_s: float) -> None:
    """Take the model out of ``wheel``, compile it to ``out``, and look at what came about."""
    # 1. The file. tdse reads the .tflite itself; nothing is converted.
    model = Path(out).parent / Path(MODEL).name
    model.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        model.write_bytes(archive.read(MODEL))

    # 2. Decide what of it runs where, by measuring, and build one module that does so.
    result = tdse.compile(model, out=out, budget_s=budget_s)
    targets = {op.target for op in result.placement.ops}
    print(f"{len(result.placement.ops)} operators on {', '.join(sorted(targets))}")
    print(f"largest difference of a region from LiteRT: {result.difference}")

    # 3. Run it. This model takes pixels from -1 to 1; its metadata do not say so.
    loaded = tdse.load(out)
    if picture is None:
        inputs = loaded.random_inputs(0)
    else:
        inputs = [read_image(loaded.inputs[0], picture, (-1.0, 1.0))]
    outputs = loaded(*inputs)
    for info, values in zip(
        loaded.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True
    ):
        print(f"{info.name}: {values.shape}, largest {values.max():.3f}")

    # 4. Time it against LiteRT, in turns and in processes of their own.
    best = bench(out, against=("litert",), launches=2, seconds=0.5).best_litert
    if best is not None:
        print(f"{best.against} times as fast as {best.name}")

    # 5. See why each operator is where it is.
    print(f"the report is in {write_report(out).path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A pretrained model, from its file to a report.")
    parser.add_argument("wheel", help="of MediaPipe 0.10.14")
    parser.add_argument("out", help="directory of the artefact")
    parser.add_argument("--picture", help="a .png or .jpg with a face (default: noise)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds (default: 60)")
    given = parser.parse_args()
    main(given.wheel, given.out, given.picture, given.budget)
