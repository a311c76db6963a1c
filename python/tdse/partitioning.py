"""What the passes of both doors have in common.

That is what may be asked of them, what they write on modules, and how they fail.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tdse.child import Child, unheard
from tdse.elsewhere import decide_elsewhere, processor_elsewhere
from tdse.errors import ModelError, TdseError, UsageError
from tdse.goals import PARETO
from tdse.graph.model import Graph
from tdse.place import Options, decide, demand_host, given_on
from tdse.platform import Device, load_platform
from tdse.search.placement import Placement

GivenPlacement = Placement | str | PathLike[str]

# Attributes: of a partitioned module, the placement as JSON; of a region's function, the platform's
# device, and the indices of its operators, ascending.
PLACEMENT = "tdse.placement"
DEVICE = "tdse.device"
OPS = "tdse.ops"


@dataclass(frozen=True)
class Asked:
    """A placement that is asked for, or given.

    Attributes:
        options: what is asked for.
        given: the placement, a file of one, or ``FRONT.json#NUMBER``; None to search.

    Raises:
        UsageError: both a placement and what only a search obeys are given, or a front is wanted.
    """

    options: Options
    given: GivenPlacement | None = None

    def __post_init__(self) -> None:
        options = self.options
        chooses = options.pins or options.targets or options.threads is not None
        if self.given is not None and chooses:
            raise UsageError(
                "a placement leaves nothing to pin or to choose",
                hint="give placement, or pins, targets and threads",
            )
        if options.objective == PARETO:
            raise UsageError(
                "a pass gives one module, and no front",
                hint='make the front with tdse.compile, and give placement="front.json#NUMBER"',
            )

    def placement(self, graph: Graph) -> Placement:
        """The placement on this machine.

        Raises:
            PlatformError, PlacementError, ModelError, UsageError, TargetError: as of ``decide`` and
                ``given_on``.
        """
        if self.given is None:
            return decide(graph, self.options).placement
        platform = load_platform(self.options.platform)
        demand_host(platform)
        return given_on(graph, platform, self.given).placement

    def placement_anywhere(self, graph: Graph) -> tuple[Placement, Device | None]:
        """The placement, and the processor if it is for another machine than this.

        Raises:
            PlatformError, PlacementError, ModelError, UsageError, TargetError: as of
                ``decide_elsewhere``, and as above.
        """
        platform = load_platform(self.options.platform)
        processor = processor_elsewhere(platform)
        if processor is None:
            return self.placement(graph), None
        if self.given is not None:
            return given_on(graph, platform, self.given).placement, processor
        with Child(graph, unheard) as child:
            decision = decide_elsewhere(graph, self.options, processor, child=child, say=unheard)
        return decision.placement, processor


class Transform:
    """What TVM runs for a pass, a class of which ``tvm.transform.module_pass`` makes one.

    Args:
        partition: from a module to the partitioned one.
        raised: takes errors, which on their way through TVM lose their fields.
    """

    def __init__(self, partition: Callable[[Any], Any], raised: list[TdseError]) -> None:
        self._partition = partition
        self._raised = raised

    def transform_module(self, module: Any, context: Any) -> Any:
        """The partitioned module; one that cannot be placed stays, with a warning that says why."""
        try:
            return self._partition(module)
        except ModelError as error:
            # The rest of a script can still compile it, as it would have without tdse.
            warnings.warn(f"the IRModule stays as it is: {error}", stacklevel=2)
            return module
        except TdseError as error:
            self._raised.append(error)
            raise


class WholeErrors:
    """Mixed into a pass of ``Transform``: raises its errors as they were.

    Args:
        partition: from a module to the partitioned one.
    """

    def __init__(self, partition: Callable[[Any], Any]) -> None:
        raised: list[TdseError] = []
        super().__init__(partition, raised)  # type: ignore[call-arg]
        self._raised = raised

    def __call__(self, module: Any) -> Any:
        """Run the pass on ``module``."""
        self._raised.clear()
        try:
            return super().__call__(module)  # type: ignore[misc]
        except Exception:
            if self._raised:
                raise self._raised[0] from None
            raise


def attribute(owner: Any, name: str) -> Any:
    """An attribute of a module or function, or None."""
    attributes = owner.attrs
    return attributes[name] if attributes is not None and name in attributes else None


def is_partitioned(module: Any) -> bool:
    """Whether a pass of tdse has made regions of the module."""
    return attribute(module, PLACEMENT) is not None


def placement_of(module: Any) -> Placement:
    """The placement of a partitioned module."""
    return Placement.model_validate_json(str(attribute(module, PLACEMENT)))


def demand_main(module: Any) -> None:
    """Refuse a module without a model.

    Raises:
        TdseError: it has no function ``main``.
    """
    if all(variable.name_hint != "main" for variable in module.get_global_vars()):
        raise TdseError("the IRModule has no function main", hint="name the model's function main")


def demand_file(path: PathLike[str] | str) -> None:
    """Refuse a path that leads to no file: a mistake in the script, and none of the model.

    Raises:
        UsageError: it does.
    """
    if not Path(path).is_file():
        raise UsageError(
            "there is no such file",
            where=str(path),
            hint="give the .tflite that the IRModule was imported from",
        )


def of_another_file(where: PathLike[str] | str, hint: str) -> UsageError:
    """What is wrong with a module that TVM's importer does not make of the given ``.tflite``."""
    return UsageError(
        "the IRModule is not what TVM imports from the file",
        where=str(where),
        why="their functions main differ",
        hint=hint,
    )


def names_of(targets: Sequence[Any] | None) -> tuple[str, ...] | None:
    """Names of targets, which may be given as TVM has them."""
    return tuple(t if isinstance(t, str) else str(t.kind.name) for t in targets or ()) or None
