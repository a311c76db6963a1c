"""A script that compiles a network with TVM, with the two lines that add tdse."""

import sys

import numpy as np
import tvm
from tvm import relax
from tvm.relax.frontend import nn

import tdse.relax  # added


class Network(nn.Module):
    """An image classifier of two layers."""

    def __init__(self) -> None:
        self.convolution = nn.Conv2D(3, 8, 3, padding=1)
        self.classifier = nn.Linear(8 * 16 * 16, 10)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """The logits [1, 10] of an image [1, 3, 16, 16]."""
        features = nn.op.relu(self.convolution(x))
        return self.classifier(nn.op.reshape(features, (1, 8 * 16 * 16)))


def main(path: str) -> None:
    """Compile the network, run it, and write it to ``path``."""
    spec = {"forward": {"x": nn.spec.Tensor([1, 3, 16, 16], "float32")}}
    mod, parameters = Network().export_tvm(spec)
    mod = tvm.IRModule({"main": mod["forward"].with_attr("global_symbol", "main")})

    library = tvm.compile(
        mod,
        target="llvm",
        relax_pipeline=tdse.relax.get_pipeline(),  # added
    )

    generator = np.random.default_rng(0)
    weights = [generator.standard_normal(p.shape).astype("float32") / 10 for _, p in parameters]
    image = generator.standard_normal((1, 3, 16, 16)).astype("float32")
    run = relax.VirtualMachine(library, tvm.cpu())["main"]
    logits = run(*map(tvm.runtime.tensor, (image, *weights)))
    library.export_library(path)
    print(f"class {logits.numpy().argmax()}, written to {path}")


if __name__ == "__main__":
    main(sys.argv[1])
