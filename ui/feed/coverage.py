"""What a recording's manifest says about what could be seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tracer.report.coverage import WAITING, hook_state, modules_that_came
from tracer.text.narrate import CONTEXT
from ui.feed.book import Book
from ui.feed.groups import of_records
from ui.feed.manifest import a_dict, a_list, a_text, seen
from ui.rows import Rows
from ui.snapshot import Coverage, Hook


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
