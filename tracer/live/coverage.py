"""What a recording's manifest says about what could be seen, in words of the view."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracer.escape import printable
from tracer.live.snapshot import Coverage, of_records
from tracer.recording.manifest import Count, Hook, Manifest, SelfTest
from tracer.words import HookState

if TYPE_CHECKING:
    from tracer.live.book import Book


def _seen(count: Count | None) -> str:
    """``12/12``: attempts of the self-test that a hook reported, of those it should have."""
    return f"{count.seen}/{count.expected}" if count else ""


def self_test(test: SelfTest) -> tuple[str, bool | None]:
    """What the self-test found in a few words, and whether that is fine; None: it did not run."""
    if not test.ran:
        return "not run", None
    silent = [
        f"{printable(family)} {_seen(count)}"
        for family, count in sorted((test.hooks or {}).items())
        if count.seen != count.expected
    ]
    if silent:
        return f"MISSED {', '.join(silent)}", False
    if test.unexplained:
        return f"{len(test.unexplained)} unexplained", False
    return f"ok ({test.cases} cases)", True


def coverage(manifest: Manifest, book: "Book", problems: Sequence[str]) -> Coverage:
    """Hooks, those that see nothing first; loss; blind spots."""
    tested = manifest.tested.hooks or {}
    records: list[dict[str, object]] = []
    counted: set[str] = set()
    for hook in manifest.hooks:
        state, ops = _state(hook, book), ", ".join(map(printable, hook.ops))
        why_not = f"{printable(hook.unseen)}: {printable(hook.reason)}"
        records.append(
            {
                "state": state,
                "family": printable(hook.family),
                "symbol": printable(hook.symbol or ""),
                "method": printable(hook.method or ""),
                "self_test": _seen(tested.get(hook.family)),
                # Several families may report as one hook: its count stands beside the first.
                "decided": None if hook.hook in counted else book.decided.get(hook.hook),
                "note": ops if state == "LIVE" else why_not,
            }
        )
        counted |= {hook.hook} if hook.method else set()
    places = sorted(range(len(records)), key=lambda place: records[place]["state"] != "BLIND")
    return Coverage(
        hooks=of_records("hooks", [records[place] for place in places], places, None),
        live=[record["state"] for record in records].count("LIVE"),
        blind=tuple(str(record["family"]) for record in records if record["state"] == "BLIND"),
        losses=dict(book.losses),
        blind_spots=tuple(map(printable, manifest.blind_spots)),
        variants={
            printable(question): printable(choice)
            for question, choice in manifest.tested.variants.items()
        },
        problems=tuple(problems),
    )


def _state(hook: Hook, book: "Book") -> str:
    """``BLIND``: something can happen there that nobody sees."""
    known = {HookState.LIVE: "LIVE", HookState.WAITING: "WAITS"}
    blind = hook.essential and hook.requested
    return known.get(hook.state(book.came)) or ("BLIND" if blind else "ABSENT")
