"""Optima of the listed placement problems: those that are stored, or solved anew.

``python benchmarks/optima.py --solve`` takes an hour and writes ``optima.json`` again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from listed import LATENCY

STORED = Path(__file__).parent / "optima.json"


def stored_optima() -> Mapping[str, Mapping[str, Any]]:
    """Problem: its proven least latency in us, and the seconds that CP-SAT took for the proof."""
    optima: Mapping[str, Mapping[str, Any]] = json.loads(STORED.read_text())["latency"]
    return optima


def main() -> None:
    """Prints the optima; with ``--solve``, finds and stores them first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solve", action="store_true", help="solve them with CP-SAT")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    stored = json.loads(STORED.read_text()) if STORED.exists() else {"latency": {}}
    for name in arguments.names or LATENCY:
        if arguments.solve:
            _solve(stored["latency"], name, arguments.limit)
            STORED.write_text(json.dumps(stored, indent=1) + "\n")
        print(name, stored["latency"].get(name, "not proven"), flush=True)


def _solve(latency: dict[str, Any], name: str, limit_s: float) -> None:
    from exact import solve

    found = solve(LATENCY[name](), limit_s=limit_s, workers=2)
    if found.status == "proven":
        latency[name] = {
            "latency_us": round(found.value, 4),
            "bound_us": round(found.bound, 4),
            "seconds": round(found.seconds, 2),
        }


if __name__ == "__main__":
    main()
