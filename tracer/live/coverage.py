"""What a recording's manifest says, whoever wrote it: wrong types count as missing.

What a recording's manifest says about what could be seen.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tracer.live import cells
from tracer.live.book import Book
from tracer.live.groups import of_records
from tracer.live.snapshot import Coverage, Facts, Hook, Rows
from tracer.output.coverage import LIVE, WAITING, hook_state, modules_that_came
from tracer.output.text import CONTEXT
from tracer.words import bit5_in


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


def coverage(manifest: Mapping[str, Any], book: Book, problems: list[str]) -> Coverage:
    """Hooks, loss, blind spots."""
    lost = book.losses
    test = a_dict(manifest.get("self_test"))
    tested = a_dict(test.get("hooks"))
    hooks: list[Hook] = []
    counted: set[str] = set()
    came = modules_that_came(book.baseline)
    for step in map(a_dict, a_list(manifest.get("hooks"))):
        method = a_text(step.get("method"))
        family = a_text(step.get("family"))
        ops = ", ".join(a_text(op) for op in a_list(step.get("ops")))
        reason = a_text(step.get("reason"))
        hook = a_text(step.get("hook"))
        waits = hook_state(step, came) == WAITING
        note = ops if method and not waits else f"{a_text(step.get('unseen'))}: {reason}"
        hooks.append(
            Hook(
                family=family,
                symbol=a_text(step.get("symbol")),
                method=method,
                essential=step.get("essential") is not False and reason != "not asked for",
                self_test=seen(a_dict(tested.get(family))),
                decided=None if hook in counted else book.decided.get(hook),
                note=note,
                waiting=waits,
            )
        )
        # Several families may report as one hook: its count stands beside the first.
        counted |= {hook} if method else set()
    return Coverage(
        hooks=tuple(hooks),
        lost={cause: n for cause, n in lost.items() if cause not in CONTEXT},
        incomplete={cause: n for cause, n in lost.items() if cause in CONTEXT},
        blind_spots=tuple(a_text(spot) for spot in a_list(manifest.get("blind_spots"))),
        variants={
            a_text(question): a_text(choice)
            for question, choice in a_dict(test.get("variants")).items()
        },
        problems=tuple(problems),
    )


def _state(hook: Hook) -> str:
    if hook.live:
        return "LIVE"
    return "WAITS" if hook.waiting else "BLIND" if hook.essential else "ABSENT"


def hook_rows(cover: Coverage) -> Rows:
    """The tab of hooks."""
    records = [
        {
            "state": _state(hook),
            "family": hook.family,
            "symbol": hook.symbol,
            "method": hook.method,
            "self_test": hook.self_test,
            "decided": hook.decided,
            "note": hook.note,
        }
        for hook in cover.hooks
    ]
    rows = of_records("hooks", records, range(len(records)), None)
    places = range(len(records))
    blind_first = sorted(places, key=lambda place: records[place]["state"] != "BLIND")
    return Rows("hooks", rows.columns, rows.ids, np.array(blind_first, np.intp), len(records))
