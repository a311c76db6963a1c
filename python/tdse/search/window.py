"""A part of a large problem, with what is around it held fixed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdse.search.problem import Ints, Problem
from tdse.search.schedule import Genes


@dataclass(frozen=True)
class Window:
    """Some operators as a problem of their own.

    The operators next to them are there too, where the placement has them and free of cost, so
    that borders and regions across the window's edge count. When those around begin and end is not
    looked at: what is found for a window is a suggestion.

    Attributes:
        problem: of the window's operators and those next to them.
        genes: the placement's, of these.
        ops: int32, the operators that the problem has, as the whole numbers them.
        links: int32, the same for its links.
        inside: bool, which of ``ops`` are in the window.
    """

    problem: Problem
    genes: Genes
    ops: Ints
    links: Ints
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def apply(self, found: Genes, to: Genes) -> Genes:
        """The whole placement with what was found for the window."""
        variants, cuts = np.array(to.variants), np.array(to.cuts)
        priority = np.array(to.priority)
        ops = self.ops[self.inside]
        variants[ops] = np.asarray(found.variants)[self.inside]
        priority[ops] = np.asarray(found.priority)[self.inside]
        cuts[self.links] = np.asarray(found.cuts)
        return Genes(variants, cuts, priority, to.strict)


def cut_out(problem: Problem, genes: Genes, window: Ints) -> Window:
    """A window of a placement.

    Args:
        problem: the whole.
        genes: the placement, with its cuts and priority.
        window: int32, the window's operators.
    """
    variants = np.asarray(genes.variants)
    in_window = np.zeros(problem.n_ops, bool)
    in_window[window] = True
    links = problem.link_array
    kept_links = np.flatnonzero(in_window[links].any(axis=1)).astype(np.int32)
    ops = np.unique(np.concatenate([window, links[kept_links].ravel()])).astype(np.int32)
    inside = in_window[ops]
    number = np.full(problem.n_ops, -1, np.int32)
    number[ops] = np.arange(len(ops))
    edges = problem.edges[in_window[problem.edges[:, :2]].any(axis=1)]
    fixed = ~inside | (problem.single_region | problem.prefix)[variants[ops]]
    legal = np.isfinite(problem.cost_us[ops])
    legal &= fixed[:, None] | ~(problem.single_region | problem.prefix)
    costs: dict[str, Any] = {}
    for name in ("cost_us", "cost_low_us", "cost_high_us"):
        cost_us = np.where(inside[:, None], getattr(problem, name)[ops], 0.0)
        costs[name] = np.where(legal, cost_us, np.inf)
    outside_bytes = np.zeros(problem.n_devices)
    device = problem.variant_device[variants]
    np.add.at(outside_bytes, device[~in_window], problem.parameter_bytes[~in_window])
    pairs = problem.forbidden_pairs
    part = dataclasses.replace(
        problem,
        n_ops=len(ops),
        edges=np.column_stack([number[edges[:, :2]], edges[:, 2:]]),
        inputs=_ends(problem.inputs, in_window, number),
        outputs=_ends(problem.outputs, in_window, number),
        **costs,
        energy_uj=np.where(inside[:, None], problem.energy_uj[ops], 0.0),
        parameter_bytes=np.where(inside, problem.parameter_bytes[ops], 0),
        parameter_capacity_bytes=np.maximum(problem.parameter_capacity_bytes - outside_bytes, 0.0),
        pins=np.where(fixed, variants[ops], problem.pins[ops]),
        device_pins=np.where(fixed, -1, problem.device_pins[ops]),
        forbidden_pairs=number[pairs[(number[pairs] >= 0).all(axis=1)]],
        model_of=problem.model_of[ops],
        labels=(),
        memory_bytes=np.full(problem.n_memories, np.inf),
        deadline_us=np.full(problem.n_models, np.inf),
        period_us=np.full(problem.n_models, np.inf),
        energy_budget_uj=np.inf,
    )
    around = Genes(
        variants[ops],
        np.asarray(genes.cuts)[kept_links],
        np.asarray(genes.priority)[ops],
        genes.strict,
    )
    return Window(part, around, ops, kept_links, inside)


def _ends(
    ends: Ints, in_window: np.ndarray[tuple[int], np.dtype[np.bool_]], number: Ints
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    kept = ends[in_window[ends[:, 0]]]
    return np.column_stack([number[kept[:, 0]], kept[:, 1]])
