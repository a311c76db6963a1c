"""Texts and tables as HTML. Whatever comes from a model or a file is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from tdse.errors import printable

# Texts in cells with more characters than this are wrapped.
_LONG = 40


def escaped(text: str) -> str:
    """``text`` as HTML shows it, whatever is in it."""
    return html.escape(printable(text))


def time_text(time_us: float | None) -> str:
    """A time for people; a dash for what is not known."""
    if time_us is None:
        return "-"
    return f"{time_us:.1f} us" if time_us < 1000 else f"{time_us / 1000:.3f} ms"


def share_text(value: float | None) -> str:
    """A ratio for people; a dash for what is not known."""
    return "-" if value is None else f"{value:.2f}"


def table(
    label: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    ids: Sequence[str] = (),
    marked: Sequence[int] = (),
) -> str:
    """A table that scrolls in its own box where it is wider than the page.

    Args:
        label: what it holds, for who cannot see it.
        heads: of the columns.
        rows: plain texts; the first of each row is its head.
        ids: of the rows, to be linked to.
        marked: numbers of rows that stand out.
    """
    head = "".join(f'<th scope="col">{escaped(text)}</th>' for text in heads)
    body = []
    for i, (first, *rest) in enumerate(rows):
        name = f' id="{escaped(ids[i])}"' if ids else ""
        mark = ' class="marked"' if i in marked else ""
        cells = "".join(_cell(text) for text in rest)
        body.append(f'<tr{name}{mark}><th scope="row">{escaped(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    wraps = ' class="long"' if len(text) > _LONG else ""
    return f"<td{wraps}>{escaped(text)}</td>"


def paragraph(text: str, *, label: str = "") -> str:
    """A paragraph; ``label`` is its class."""
    kind = f' class="{label}"' if label else ""
    return f"<p{kind}>{escaped(text)}</p>"
