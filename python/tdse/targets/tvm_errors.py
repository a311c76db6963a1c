"""What TVM raises, of any version, and what is told of it."""

from __future__ import annotations

# What importers and compilers raise where they meet something that they were not written for. They
# have no error of their own, so this is every kind of error that stems from a value.
IMPORT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def reason_of(error: BaseException) -> str:
    """What an exception of TVM says, in one line without traces and check expressions."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("File ", "Traceback"))]
    text = lines[-1] if lines else type(error).__name__
    for prefix in ("TVMError: ", "InternalError: ", "Check failed: "):
        text = text.removeprefix(prefix)
    return text if isinstance(error, RuntimeError) or " " in text else f"TVM fails on {text}"
