"""How the search and its candidates are told to people."""

from __future__ import annotations

import pytest

from tdse.candidates import Searched
from tdse.cli.show import _candidates, _search
from tdse.contest import Contest, Contestant
from tdse.graph.regions import Region
from tdse.measure.race import Lap, Result


@pytest.mark.parametrize(
    ("searched", "line"),
    [
        (
            Searched(2, 1.0, 0.0123, "settled", 100, 0.5),
            "search on 2 threads: within 1.2 % of the bound, within the cost model; "
            "nothing better was found for long",
        ),
        (
            Searched(1, 1.0, 0.0, "optimal", 100, 0.5),
            "search on 1 thread: within 0.0 % of the bound, within the cost model; "
            "nothing can be better by more",
        ),
        (
            Searched(1, 1.0, None, "budget", 100, 0.5),
            "search on 1 thread: there is no bound, within the cost model; its time was up",
        ),
    ],
)
def test_how_a_search_ended(searched: Searched, line: str) -> None:
    assert _search(searched) == line


@pytest.mark.parametrize("power_w", [None, 4.0])
def test_energy_is_shown_where_it_is_known_and_called_modelled(power_w: float | None) -> None:
    one = Contestant("litert x1", 1, (Region(0, "litert", (0,)),), 900.0, 900.0, power_w)
    results = {one.name: Result(one.name, (Lap((1000.0,) * 3, 0.0, 0.0, 0),))}
    table = _candidates(Contest(one, (one,), results, ("latency",)))
    headers = [column.header for column in table.columns]
    assert ("modelled mJ" in headers) == (power_w is not None)
    assert next(iter(table.columns[-1].cells)) == ("4" if power_w else "1.00 [1.00, 1.00]")
