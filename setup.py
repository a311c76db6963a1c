"""Builds the native libraries with CMake; all else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
TVM = find_spec("tvm")
HAS_TVM_RUNTIME = bool(
    TVM and TVM.origin and (Path(TVM.origin).parent / "lib/libtvm_runtime.so").exists()
)


class CMakeBuild(build_ext):
    """Builds all ``lib`` directories, against the ``tvm_ffi`` of the interpreter that builds."""

    def get_ext_filename(self, fullname: str) -> str:
        # It is loaded with dlopen, not imported, and so is not named after a Python version.
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extensions(self) -> None:
        build = Path(self.build_temp).absolute() / "cmake"
        environment = dict(os.environ)
        scripts = sysconfig.get_path("scripts")
        environment["PATH"] = os.pathsep.join((scripts, environment.get("PATH", "")))
        cmake = shutil.which("cmake", path=environment["PATH"])
        if cmake is None:
            sys.exit("cmake is not installed: pip install cmake ninja")
        generator = ["-G", "Ninja"] if shutil.which("ninja", path=environment["PATH"]) else []
        options = [f"-DPython_EXECUTABLE={sys.executable}"]
        # A generator cannot be changed in a build directory that was made with another one.
        configure = [cmake, "--fresh", "-S", str(ROOT), "-B", str(build), *generator, *options]
        subprocess.run(configure, check=True, env=environment)
        subprocess.run([cmake, "--build", str(build), "--parallel"], check=True, env=environment)
        for ext in self.extensions:
            target = Path(self.get_ext_fullpath(ext.name)).absolute()
            target.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place: a process that has the old library loaded keeps it.
            copy = target.with_suffix(".new")
            shutil.copy2(build / target.name, copy)
            os.replace(copy, target)


setup(
    ext_modules=[
        Extension("tdse.lib.libtdse_dataflow", sources=[]),
        Extension("tdse.lib.libtdse_evaluate", sources=[]),
        # Where TVM 0.27 is not installed, nothing compiles for OpenCL.
        *([Extension("tdse.lib.libtdse_opencl", sources=[])] if HAS_TVM_RUNTIME else []),
        Extension("tdse.lib.libtdse_region", sources=[]),
        Extension("tdse.lib.libtdse_runtime", sources=[]),
        Extension("tdse.lib.libtdse_tvm", sources=[]),
        Extension("tdse_openvino.lib.libtdse_openvino", sources=[]),
    ],
    cmdclass={"build_ext": CMakeBuild},
)
