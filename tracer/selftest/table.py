"""The result of a self-test as lines of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from tracer.model.holes import HOLES
from tracer.model.variants import QUESTIONS
from tracer.selftest.hooks import Count
from tracer.selftest.run import SelfTest

_BITS = {
    "exec": "F_SEAL_EXEC",
    "inaccessible": "F_SEAL_INACCESSIBLE",
    "none": "unknown to this kernel",
    "unknown": "accepted, but it does what no documented seal does",
}
_NOTABLE = ("breach", "unexplained", "indeterminate")


def lines(result: SelfTest) -> Iterator[str]:
    """What was found, for people."""
    if result.failed:
        yield f"self-test FAILED: {result.failed}"
    else:
        yield from _finding(result.finding, result.seconds)
    yield from _hooks(result)


def _finding(found: Mapping[str, Any], seconds: float) -> Iterator[str]:
    yield f"self-test: {found['cases']:,} calls on scratch files in {seconds:.1f} s"
    yield "  " + ", ".join(
        f"{count:,} {word}{' (see below)' if word in _NOTABLE else ''}"
        for word, count in sorted(found["verdicts"].items())
    )
    yield f"  seal 0x20: {_BITS[found['bit_0x20']]}"
    chunk = found["write_chunk"]
    yield f"  one write asks about its seals every {chunk or 'unknown number of'} bytes"
    yield "  variants"
    for question, choices in QUESTIONS.items():
        answer = found["variants"].get(question)
        chosen = [choice for choice in choices if choice.name == answer]
        if not chosen:
            yield f"    {question}: OPEN, nothing that could be tried here tells"
        for choice in chosen:
            yield f"    {question}: {choice.name} ({choice.text})"
            yield f"      {choice.source}"
    yield f"  known holes of this kernel: {'' if found['holes'] else 'none found'}".rstrip()
    for hole in HOLES:
        if hole.name in found["holes"]:
            yield f"    {hole.name}: {hole.text}"
            yield f"      {hole.source}"
    yield f"  unexplained answers: {'' if found['unexplained'] else 'none'}".rstrip()
    for one in found["unexplained"]:
        yield (
            f"    {one['op']} {one['asked']} on {one['kind']} sealed {one['seals']}: "
            f"{one['answer']}, expected {one['expected']} ({one['rule'] or 'no rule'}), "
            f"{one['times']} times"
        )


def _hooks(result: SelfTest) -> Iterator[str]:
    if result.hooks is None:
        yield f"  hooks: could not be confirmed, {result.hooks_note}"
        return
    note = f" ({result.hooks_note})" if result.hooks_note else ""
    yield f"  hooks{note}"
    yield f"    {'family':<18} {'expected':>9} {'seen':>9}"
    for family, count in result.hooks.items():
        yield f"    {family:<18} {count.expected:>9,} {count.seen:>9,}{_remark(count)}"


def _remark(count: Count) -> str:
    if count.ok is None:
        return "  not tried: nothing that this hook reports could be done"
    extra = f", {count.extra} too many" if count.extra else ""
    return "" if count.ok else f"  NOT AS IT WAS{extra}"
