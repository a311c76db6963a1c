"""The process that ``place_apart`` starts: finds a placement where no TVM was loaded before.

A script that places a model through Relay has loaded a TVM beside which XGBoost crashes; in a
process that tdse starts, XGBoost comes first (``boosting``).
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.place import Options, decide
from tdse.search.placement import Placement
from tdse.worker import end_with_parent, run_worker

# More than any search and contest take beyond their budget, in seconds.
_LIMIT_S = 3600.0


def place_apart(graph: Graph, options: Options) -> Placement:
    """The placement that ``decide`` finds, in a process of its own.

    Raises:
        TdseError: as of ``decide``.
    """
    with tempfile.TemporaryDirectory(prefix="tdse-place-") as directory:
        model = Path(directory) / "model.tflite"
        model.write_bytes(graph.data)
        found = run_worker(
            "tdse.place_worker",
            doing="placing the model",
            where=graph.name,
            limit_s=_LIMIT_S + options.budget_s,
            given=json.dumps({"model": str(model), "name": graph.name, "options": asdict(options)}),
        )
    if "error" in found:
        raise TdseError.from_dict(found["error"])
    return Placement.model_validate(found["placement"])


def main() -> None:
    """Entry point of ``python -m tdse.place_worker``."""
    end_with_parent()
    given = json.loads(sys.stdin.read())
    wanted: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in given["options"].items()
    }
    try:
        graph = read_tflite(Path(given["model"]).read_bytes(), given["name"])
        placement = decide(graph, Options(**wanted)).placement
        print(json.dumps({"placement": placement.model_dump(mode="json", by_alias=True)}))
    except TdseError as error:
        print(json.dumps({"error": error.as_dict()}))


if __name__ == "__main__":
    main()
