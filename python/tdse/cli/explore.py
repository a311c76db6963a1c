"""``tdse explore``: layers on an accelerator that is only described, or on many sizes of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tdse.cli import show_explore
from tdse.dataflow.architecture import load_architecture
from tdse.dataflow.explore import explore
from tdse.dataflow.from_graph import layers_of
from tdse.dataflow.layer import Layer
from tdse.dataflow.model_json import read_model_json
from tdse.dataflow.network import NetworkResult, map_network
from tdse.dataflow.plot import check_plot, plot
from tdse.dataflow.vary import parse_varied
from tdse.errors import ModelError, UsageError
from tdse.files import written
from tdse.graph import read_tflite


def command(arguments: argparse.Namespace) -> None:
    """Run the command with its parsed arguments."""
    texts = [text for group in arguments.vary for text in group]
    varied = parse_varied([text for text in texts if "=" in text])
    # An option of several values takes the models that follow it, too.
    models = [*arguments.models, *(text for text in texts if "=" not in text)]
    if not models:
        raise UsageError("no model is given", hint="name a .tflite file, or layers in a .json")
    architecture = load_architecture(arguments.arch)
    layers = [layer for model in models for layer in _layers(model)]
    if varied:
        if arguments.mappings:
            raise UsageError("--mappings is for one size", hint="leave out --vary or --mappings")
        if arguments.plot:
            check_plot(arguments.plot)
        with arguments.output.progress() as report:
            found = explore(
                layers,
                architecture,
                varied,
                file=arguments.out,
                objective=arguments.objective,
                search=arguments.search,
                seconds=arguments.seconds,
                jobs=arguments.jobs,
                dask=arguments.dask,
                progress=lambda done, total: report("explore", done, total, ""),
            )
        if arguments.plot:
            plot(found, arguments.plot, ", ".join(Path(model).stem for model in models))
        arguments.output.answer(
            "exploration",
            asdict(found),
            lambda: show_explore.points(found, arguments.out, arguments.plot),
        )
        return
    for option, value in (("--out", arguments.out), ("--plot", arguments.plot)):
        if value:
            raise UsageError(f"{option} is for several sizes", hint="say which with --vary")
    with arguments.output.progress() as report:
        result = map_network(
            layers,
            architecture,
            arguments.objective,
            seconds=arguments.seconds,
            as_dmazerunner=arguments.search == "dmazerunner",
            progress=lambda done, total, name: report("explore", done, total, name),
        )
    if arguments.mappings:
        _write_mappings(result, Path(arguments.mappings))
    arguments.output.answer(
        "mapping",
        show_explore.network_json(result),
        lambda: show_explore.network(result, arguments.mappings),
    )


def _layers(model: str) -> list[Layer]:
    if model.endswith(".json"):
        return list(read_model_json(model))
    found = layers_of(read_tflite(model))
    if not found.layers:
        raise ModelError(
            "the model has no layers that are modelled",
            where=model,
            why="; ".join(dict.fromkeys(found.refused.values())),
        )
    return list(found.layers.values())


def _write_mappings(result: NetworkResult, directory: Path) -> None:
    with written(directory, "the mappings"):
        directory.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(result.layers):
            name = "".join(c if c.isalnum() else "_" for c in one.layer.name)
            path = directory / f"{number:03}_{name}"
            path.with_suffix(".json").write_text(one.mapping.to_json(one.layer.name) + "\n")
            path.with_suffix(".txt").write_text(one.mapping.loop_nest() + "\n")
