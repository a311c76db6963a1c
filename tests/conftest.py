"""Fixtures: models as files, made once a session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "examples")]

from demo_model import mobilenet_v3_small  # noqa: E402 - found on the path set above
from models import MODELS  # noqa: E402
from tdse.platform.opencl import find_opencl  # noqa: E402

ModelPath = Callable[[str], Path]


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> ModelPath:
    """Gives the path of the ``.tflite`` of a model in ``models.MODELS``, or of ``demo``."""
    directory = tmp_path_factory.mktemp("models")

    def path(name: str) -> Path:
        file = directory / f"{name}.tflite"
        if not file.exists():
            file.write_bytes(mobilenet_v3_small() if name == "demo" else MODELS[name]())
        return file

    return path


@pytest.fixture(scope="session", autouse=True)
def _user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps kernels and records of tests out of the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def record_store_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One record store for a module, so that later tests need not measure again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo_model(model_path: ModelPath) -> Path:
    """MobileNetV3-Small in int8, 224x224."""
    return model_path("demo")


@pytest.fixture(scope="session")
def tiny_conv_int8(model_path: ModelPath) -> Path:
    """An int8 classifier of 13 operators."""
    return model_path("tiny_conv_int8")


@pytest.fixture(scope="session")
def tiny_float(model_path: ModelPath) -> Path:
    """Float32 convolution, RELU, CONCATENATION and RESHAPE."""
    return model_path("tiny_float")


@pytest.fixture(scope="session")
def branches(model_path: ModelPath) -> Path:
    """An int8 diamond of two branches."""
    return model_path("branches")


@pytest.fixture(scope="session")
def two_inputs_two_outputs(model_path: ModelPath) -> Path:
    """A float32 model with named inputs and outputs."""
    return model_path("two_inputs_two_outputs")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need an OpenCL device where there is none, and say why there is none."""
    if item.get_closest_marker("opencl") is not None:
        missing = find_opencl().missing
        if missing:
            pytest.skip(missing)
