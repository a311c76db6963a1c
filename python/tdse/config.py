"""Where this package has what C and C++ programs are built with: ``python -m tdse.config``."""

from __future__ import annotations

import argparse
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def main() -> None:
    """Entry point: print the path that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tdse.config", description=__doc__)
    asked = parser.add_mutually_exclusive_group(required=True)
    for option, path, what in (
        ("--cmakedir", "cmake", "directory for CMake's tdse_DIR"),
        ("--includedir", "include", "directory for the compiler's -I"),
        ("--library", "lib/libtdse_runtime.so", "the library"),
    ):
        asked.add_argument(
            option, dest="path", action="store_const", const=_PACKAGE / path, help=what
        )
    print(parser.parse_args().path)


if __name__ == "__main__":
    main()
