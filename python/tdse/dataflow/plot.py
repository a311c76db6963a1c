"""An exploration as a picture: latency against energy, and what is on the front."""

from __future__ import annotations

import os
from pathlib import Path

from tdse.dataflow.explore import Exploration, Point
from tdse.errors import UsageError
from tdse.files import written

_MOST_LABELS = 12


def check_plot(path: str | os.PathLike[str]) -> None:
    """See before an exploration that its picture can be drawn.

    Raises:
        UsageError: matplotlib is not installed, or does not know the format.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise UsageError(
            "matplotlib is not installed", where=f"--plot {path}", hint="pip install tdse[plot]"
        ) from error
    known = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in known:
        raise UsageError(
            "a picture's format is not known",
            where=f"--plot {path}",
            hint=f"end its name with one of {', '.join(f'.{suffix}' for suffix in sorted(known))}",
        )


def plot(exploration: Exploration, path: str | os.PathLike[str], title: str) -> None:
    """Write a picture.

    Args:
        exploration: at least one of its points must have a mapping.
        path: its suffix says the format: ``.svg``, ``.png`` or ``.pdf``.
        title: of the picture.

    Raises:
        UsageError: nothing is to be seen on it, or it cannot be written.
    """
    from matplotlib.figure import Figure

    valid = [point for point in exploration.points if point.latency_us is not None]
    if not valid:
        raise UsageError("there is nothing to plot", where=f"--plot {path}", why="no mapping fits")
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    drawn = axes.scatter(
        [_ms(point) for point in valid],
        [_mj(point) for point in valid],
        c=[(point.area or 0) / 1024 for point in valid],
        norm="log",
        cmap="viridis_r",
        s=36,
        zorder=3,
    )
    front = sorted((exploration.points[i] for i in exploration.front), key=_ms)
    axes.scatter(
        [_ms(point) for point in front],
        [_mj(point) for point in front],
        s=120,
        facecolors="none",
        edgecolors="crimson",
        zorder=4,
        label="no other is better in latency, energy and area",
    )
    for point in _spread(front):
        axes.annotate(
            _label(point, valid),
            (_ms(point), _mj(point)),
            xytext=(7, 4),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="latency, ms (modelled)",
        ylabel="energy, mJ (modelled)",
        title=title,
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.margins(x=0.2, y=0.15)
    axes.legend(loc="upper right")
    bar = figure.colorbar(drawn, label="area proxy, KiB of scratchpad")
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter("{x:g}")
    with written(path, "the picture"):
        figure.savefig(path, dpi=120)


def _spread(front: list[Point]) -> list[Point]:
    """Not more than can be labelled."""
    step = -(-len(front) // _MOST_LABELS) or 1
    return front[::step]


def _label(point: Point, points: list[Point]) -> str:
    """The sizes that differ between points."""
    columns = zip(*(each.sizes for each in points), strict=True)
    texts = (f"{point.pes:g} PEs", f"{point.rf_bytes:g} B", f"{point.spm_kib:g} KiB")
    differ = [len(set(column)) > 1 for column in columns]
    return ", ".join(text for text, is_varied in zip(texts, differ, strict=True) if is_varied)


def _ms(point: Point) -> float:
    return (point.latency_us or 0.0) / 1e3


def _mj(point: Point) -> float:
    return (point.energy_uj or 0.0) / 1e3
