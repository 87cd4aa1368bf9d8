"""What a recording's manifest says about what could be seen."""

import numpy as np

from tracer.live import cells
from tracer.live.book import Book
from tracer.live.groups import of_records
from tracer.live.snapshot import Coverage, Facts, Hook, Rows
from tracer.output.coverage import modules_that_came
from tracer.output.text import CONTEXT
from tracer.recording.manifest import Count, Manifest, SelfTest
from tracer.words import HookState


def _text(value: str | None) -> str:
    return cells.text(value) if value else ""


def seen(count: Count | None) -> str:
    """``12/12``: attempts of the self-test that a hook reported, of those it should have."""
    return f"{count.seen}/{count.expected}" if count else ""


def _self_test(test: SelfTest) -> tuple[str, bool | None]:
    if not test.ran:
        return "not run", None
    silent = [
        f"{_text(family)} {seen(count)}"
        for family, count in sorted((test.hooks or {}).items())
        if count.seen != count.expected
    ]
    if silent:
        return f"MISSED {', '.join(silent)}", False
    if test.unexplained:
        return f"{len(test.unexplained)} unexplained", False
    return f"ok ({test.cases} cases)", True


def facts(path: str, manifest: Manifest) -> Facts:
    """What does not change."""
    said, fine = _self_test(manifest.tested)
    return Facts(
        path=path,
        host=_text(manifest.host_name),
        kernel=_text(manifest.kernel.release),
        command=" ".join(map(_text, manifest.command)),
        hooks_live=sum(hook.state() == HookState.LIVE for hook in manifest.hooks),
        hooks=len(manifest.hooks),
        self_test=said,
        self_test_ok=fine,
        bit5=manifest.bit5,
    )


def coverage(manifest: Manifest, book: Book, problems: list[str]) -> Coverage:
    """Hooks, loss, blind spots."""
    lost = book.losses
    test = manifest.tested
    tested = test.hooks or {}
    hooks: list[Hook] = []
    counted: set[str] = set()
    came = modules_that_came(book.baseline)
    for step in manifest.hooks:
        hook = _text(step.hook)
        waits = step.state(came) == HookState.WAITING
        ops = ", ".join(map(_text, step.ops))
        note = ops if step.method and not waits else f"{_text(step.unseen)}: {_text(step.reason)}"
        hooks.append(
            Hook(
                family=_text(step.family),
                symbol=_text(step.symbol),
                method=_text(step.method),
                essential=step.essential and step.requested,
                self_test=seen(tested.get(step.family)),
                decided=None if hook in counted else book.decided.get(hook),
                note=note,
                waiting=waits,
            )
        )
        # Several families may report as one hook: its count stands beside the first.
        counted |= {hook} if step.method else set()
    return Coverage(
        hooks=tuple(hooks),
        lost={cause: n for cause, n in lost.items() if cause not in CONTEXT},
        incomplete={cause: n for cause, n in lost.items() if cause in CONTEXT},
        blind_spots=tuple(map(_text, manifest.blind_spots)),
        variants={_text(question): _text(choice) for question, choice in test.variants.items()},
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
