"""What is kept of a compiled region in the runtime module: slice, result, hashes, compiler."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field

from tdse.errors import ArtefactError

MAGIC = b"TDSEETPU"


@dataclass(frozen=True)
class Compiled:
    """A region for the Edge TPU.

    Attributes:
        slice_: the ``.tflite`` that was compiled.
        compiled: the ``.tflite`` that the compiler made of it.
        compiler: version of the compiler, as it says.
        runtime: version of the runtime that it was compiled for.
        device: number of the Edge TPU that runs it.
    """

    slice_: bytes = field(repr=False)
    compiled: bytes = field(repr=False)
    compiler: str
    runtime: int
    device: int = 0

    def to_bytes(self) -> bytes:
        """Magic, length of a JSON object, that object, the compiled model and the slice."""
        header = json.dumps(
            {
                "compiler": self.compiler,
                "runtime": self.runtime,
                "device": self.device,
                "compiled_bytes": len(self.compiled),
                "compiled_sha256": hashlib.sha256(self.compiled).hexdigest(),
                "slice_bytes": len(self.slice_),
                "slice_sha256": hashlib.sha256(self.slice_).hexdigest(),
            }
        ).encode()
        return b"".join((MAGIC, struct.pack("<I", len(header)), header, self.compiled, self.slice_))

    @classmethod
    def from_bytes(cls, data: bytes) -> Compiled:
        """What ``to_bytes`` made.

        Raises:
            ArtefactError: it was not, or is damaged.
        """
        what, hint = "a region for the Edge TPU is damaged", "compile the model again"
        try:
            if data[: len(MAGIC)] != MAGIC:
                raise ValueError("it does not begin as one")
            start = len(MAGIC) + 4
            (size,) = struct.unpack_from("<I", data, len(MAGIC))
            header = json.loads(data[start : start + size])
            middle = start + size + int(header["compiled_bytes"])
            compiled = data[start + size : middle]
            slice_ = data[middle : middle + int(header["slice_bytes"])]
            for name, part in (("compiled", compiled), ("slice", slice_)):
                if hashlib.sha256(part).hexdigest() != header[f"{name}_sha256"]:
                    raise ValueError(f"the {name} has another sha256")
            return cls(
                slice_, compiled, header["compiler"], int(header["runtime"]), int(header["device"])
            )
        except (struct.error, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(what, why=str(error), hint=hint) from None
