"""The one error type of tdse: what went wrong, where, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping


class TdseError(Exception):
    """A failure that a user can act on, printed as one line.

    Attributes:
        what: what could not be done, without a trailing full stop.
        where: the file, operator, tensor or option concerned; empty if there is none.
        why: the reason, as far as it is known.
        hint: what the user can do about it.
        exit_status: the status a command ends with: 2 for wrong usage, 1 for anything else.
    """

    exit_status = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        self.what = _one_line(what)
        self.where = _one_line(where)
        self.why = _one_line(why)
        self.hint = _one_line(hint)
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f": {self.why}"
        return f"{text}; {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, str]:
        """The fields of the error, for ``--json``."""
        return {
            "kind": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "hint": self.hint,
        }

    @staticmethod
    def from_dict(fields: Mapping[str, str]) -> TdseError:
        """The error of which ``as_dict`` gave ``fields``, perhaps in another process."""
        found = {kind.__name__: kind for kind in _family(TdseError)}[fields["kind"]]
        return found(fields["what"], where=fields["where"], why=fields["why"], hint=fields["hint"])


class UsageError(TdseError):
    """The command line, or the arguments of a call, are wrong."""

    exit_status = 2


class ModelError(TdseError):
    """A model file cannot be read, or asks for something that cannot be done."""


class PlatformError(TdseError):
    """A platform file is wrong, or does not fit this machine."""


class PlacementError(TdseError):
    """A placement is not valid, or a pin cannot be obeyed."""


class TargetError(TdseError):
    """A target cannot compile or run a region."""


class CompilerMissingError(TargetError):
    """edgetpu_compiler is not installed."""


class CompilerCrashError(TargetError):
    """edgetpu_compiler ended with an error."""


class CompilerTimeoutError(TargetError):
    """edgetpu_compiler took too long."""


class CompilerOutputError(TargetError):
    """edgetpu_compiler wrote nothing, or not what it should."""


class PartialMappingError(TargetError):
    """edgetpu_compiler left operators of a region on the CPU."""


class DelegateMissingError(TargetError):
    """The library that runs the Edge TPU is not installed."""


class DelegateSymbolError(TargetError):
    """The library that runs the Edge TPU lacks a function."""


class DelegateCrashError(TargetError):
    """The library that runs the Edge TPU crashes."""


class DelegateTimeoutError(TargetError):
    """The library that runs the Edge TPU does not answer."""


class DelegateRefusedError(TargetError):
    """The library that runs the Edge TPU, or LiteRT with it, refuses."""


class DelegateUnusedError(TargetError):
    """The library that runs the Edge TPU takes none of the operators."""


class NoEdgeTpuError(TargetError):
    """No Edge TPU is attached, or not as many as are needed."""


class ArtefactError(TdseError):
    """An output directory cannot be written, or does not hold what it should."""


class VersionError(TdseError):
    """An installed library is of a version that tdse does not work with."""


def _family(kind: type[TdseError]) -> list[type[TdseError]]:
    """A kind of error and all kinds of it."""
    return [kind, *(each for sub in kind.__subclasses__() for each in _family(sub))]


def printable(text: str) -> str:
    r"""``text`` for a terminal: what would steer it is written as an escape such as ``\x1b``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
