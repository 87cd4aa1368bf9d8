"""What a recording's manifest says, whoever wrote it: wrong types count as missing."""

from collections.abc import Mapping
from typing import Any

from tracer.model.bit5 import bit5_in
from tracer.report.coverage import LIVE, hook_state
from ui import cells
from ui.snapshot import Facts


def a_dict(value: object) -> dict[str, Any]:
    """``value``, or an empty one."""
    return value if isinstance(value, dict) else {}


def a_list(value: object) -> list[Any]:
    """``value``, or an empty one."""
    return value if isinstance(value, list) else []


def a_text(value: object) -> str:
    """``value`` as harmless text."""
    return cells.text(value) if isinstance(value, str) and value else ""


def a_number(value: object) -> int:
    """``value``, or 0."""
    return value if isinstance(value, int) else 0


def seen(counts: Mapping[str, Any]) -> str:
    """``12/12``: attempts of the self-test that a hook reported, of those it should have."""
    return f"{a_number(counts.get('seen'))}/{a_number(counts.get('expected'))}" if counts else ""


def _self_test(manifest: Mapping[str, Any]) -> tuple[str, bool | None]:
    result = manifest.get("self_test")
    if not isinstance(result, dict) or result.get("ran") is not True:
        return "not run", None
    odd = len(a_list(result.get("unexplained")))
    silent = [
        f"{a_text(family)} {seen(a_dict(counts))}"
        for family, counts in sorted(a_dict(result.get("hooks")).items())
        if a_dict(counts).get("seen") != a_dict(counts).get("expected")
    ]
    if silent:
        return f"MISSED {', '.join(silent)}", False
    if odd:
        return f"{odd} unexplained", False
    return f"ok ({a_number(result.get('cases'))} cases)", True


def facts(path: str, manifest: Mapping[str, Any]) -> Facts:
    """What does not change."""
    hooks = [a_dict(step) for step in a_list(manifest.get("hooks"))]
    host = a_text(manifest.get("host"))
    said, fine = _self_test(manifest)
    return Facts(
        path=path,
        host="" if host == "(none)" else host,
        kernel=a_text(a_dict(manifest.get("kernel")).get("release")),
        command=" ".join(a_text(word) for word in a_list(manifest.get("command"))),
        hooks_live=sum(hook_state(hook) == LIVE for hook in hooks),
        hooks=len(hooks),
        self_test=said,
        self_test_ok=fine,
        bit5=bit5_in(manifest),
    )
