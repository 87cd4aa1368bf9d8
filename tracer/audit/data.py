"""An audit as JSON, and the JSON Schema of it, both from the same dataclasses."""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from tracer.audit import results
from tracer.audit.results import Audit

FORMAT = 1
_ADDED = {"Audit": ("result",), "RecordingAudit": ("result",)}
"""Properties that are written beside the fields."""


def plain(value: Any) -> Any:
    """Dataclasses as dicts, enums as their words, sets as sorted lists."""
    if is_dataclass(value) and not isinstance(value, type):
        names = [*_ADDED.get(type(value).__name__, ()), *(one.name for one in fields(value))]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(plain, value))
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def document(audit: Audit) -> dict[str, Any]:
    """The whole audit as JSON values, in the format of :func:`schema`."""
    return {"format": FORMAT, "exit_code": audit.result.exit_code, **plain(audit)}


def text(audit: Audit) -> str:
    """The document as text."""
    return json.dumps(document(audit), indent=2)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of :func:`document`."""
    body = _of(Audit)
    body["properties"] = {
        "format": {"const": FORMAT},
        "exit_code": {"enum": sorted({0, *(one.exit_code for one in results.Result)})},
        **body["properties"],
    }
    body["required"] = ["format", "exit_code", *body["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sealsnoop audit result",
        **body,
    }


_SCALARS: dict[Any, str] = {str: "string", int: "integer", bool: "boolean", float: "number"}


def _of(kind: Any) -> dict[str, Any]:
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is type(None):
        return {"type": "null"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    if is_dataclass(kind):
        return _of_class(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return {"anyOf": [_of(one) for one in args]}
    if origin in (tuple, frozenset):
        return {"type": "array", "items": _of(args[0])}
    return {"type": "object", "additionalProperties": _of(args[1])}  # a Mapping


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, vars(results))


def _of_class(kind: Any) -> dict[str, Any]:
    hints = {name: _of(hint) for name, hint in _hints(kind).items()}
    added = {name: _of(results.Result) for name in _ADDED.get(kind.__name__, ())}
    return {
        "type": "object",
        "description": (kind.__doc__ or "").splitlines()[0],
        "properties": {**added, **hints},
        "required": [*added, *hints],
        "additionalProperties": False,
    }
