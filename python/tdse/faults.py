"""Files that pydantic reads, and their faults, told by key and in words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """A part of a file that only has keys it knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


def faults_of(error: ValidationError, model: type[BaseModel] | None = None) -> list[str]:
    """One text a fault, ``key: why``, for example ``devices[0].cores: must be at least 1``.

    Args:
        error: what pydantic raised.
        model: if given, keys that it does not know are compared with those that it does.
    """
    return [_fault(dict(fault), model) for fault in error.errors(include_url=False)]


def _fault(fault: dict[str, Any], model: type[BaseModel] | None) -> str:
    key = _key(fault["loc"])
    kind, context = str(fault["type"]), dict(fault.get("ctx", {}))
    why = _why(kind, context, fault)
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(model), n=1)
        why += f", did you mean {near[0]}?" if near else ""
    return f"{key}: {why}" if key else why


def _why(kind: str, context: dict[str, Any], fault: dict[str, Any]) -> str:
    given = repr(fault["input"]) if isinstance(fault["input"], str | int | float) else ""
    suffix = f", not {given}" if given else ""
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a known key"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}{suffix}"
        case "greater_than":
            return f"must be more than {context['gt']:g}{suffix}"
        case "too_short":
            return f"needs at least {context['min_length']} entry"
        case "string_too_short":
            return "must not be empty"
        case "literal_error":
            return f"must be {context['expected']}{suffix}"
        case "value_error":
            return str(context["error"])
        case "string_type":
            return f"must be a text{suffix}"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number{suffix}"
        case "float_type" | "float_parsing" | "finite_number":
            return f"must be a number{suffix}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false{suffix}"
        case "tuple_type" | "list_type":
            return f"must be a list{suffix}"
        case _:
            # pydantic's own words, which begin with a capital.
            message = str(fault["msg"])
            return message[:1].lower() + message[1:]


def _key(location: Sequence[int | str]) -> str:
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _known_keys(model: type[BaseModel] | None) -> list[str]:
    """Keys of the model and of the models inside it."""
    if model is None:
        return []
    keys, waiting, seen = [], [model], {model}
    while waiting:
        for name, field in waiting.pop().model_fields.items():
            keys.append(field.alias or name)
            for inner in _models_in(field.annotation):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _models_in(inner)]
