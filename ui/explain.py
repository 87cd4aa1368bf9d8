"""Every field of an event in words, and the rule behind its verdict."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tracer import labels
from tracer import words as seal_words
from tracer.escape import printable
from tracer.labels import MAX_ERRNO, SEALS_UNKNOWN
from tracer.live import cells
from tracer.live.cells import SYMBOLS
from tracer.live.snapshot import Wall, no_clock
from tracer.rules import RULES
from tracer.rules.variants import HOLES
from tracer.rules.verdicts import Verdict
from tracer.walltime import date_and_time
from tracer.words import DOUBTS, Bit5, Flag

_RULES = {rule.name: rule for rule in RULES}
_HOLES = {hole.name: hole for hole in HOLES}
_UNSET_FLAGS = Flag.CHECK_REACHED | Flag.FILE_MMAP_REACHED
_FMODE = {0: "no file", 1: "read only", 2: "write only", 3: "read and write"}


class Line(NamedTuple):
    """One line: what it is, its value, and a style's name (empty: plain)."""

    label: str
    value: str
    style: str = ""


def _answered(event: Mapping[str, Any]) -> str:
    op, flags = str(event.get("op") or ""), event.get("flags") or 0
    return labels.answer(op, event.get("answer"), flags).removeprefix("= ")


def why(event: Mapping[str, Any]) -> list[Line]:
    """The verdict, what it rests on, the rule's sentence, its place in the kernel, the hole."""
    number = event.get("verdict")
    if number is None or number < 0:
        return [Line("verdict", "none: this is a fact, which no rule judges, and not a decision")]
    verdict = Verdict(number)
    got = _answered(event)
    expected = cells.text(event.get("expected"))
    lines = [
        Line("verdict", f"{SYMBOLS[verdict]} {verdict.word}: {verdict.meaning}", verdict.word),
        Line("expected", f"{expected}, and the kernel answered {got}"),
    ]
    reason = cells.because(event.get)
    if reason:
        lines.append(Line("because", reason, "strong"))
    rule = _RULES.get(str(event.get("rule") or ""))
    if rule is not None:
        lines.append(Line("rule", f"{rule.name}: {rule.text}"))
        lines.append(Line("kernel", rule.source))
    elif event.get("rule"):
        lines.append(Line("rule", cells.text(event["rule"])))
    hole = _HOLES.get(str(event.get("hole") or ""))
    if hole is not None:
        lines.append(Line("hole", f"{hole.name}: {hole.text}", "breach"))
        lines.append(Line("kernel", hole.source))
    elif event.get("hole"):
        lines.append(Line("hole", cells.text(event["hole"]), "breach"))
    return lines


def flags(value: int) -> str:
    """``raced_seals, entry_missing``; empty where nothing is the matter."""
    known = [flag.name.lower() for flag in Flag if flag.name and value & flag]
    rest = value & ~sum(Flag)
    return ", ".join([*known, *([f"{rest:#x}"] if rest else [])])


def _seals(value: Any, bit5: Bit5) -> str:
    if value is None:
        return "?"
    known = "not known" if value == SEALS_UNKNOWN else seal_words.names(int(value), bit5)
    return f"{cells.seals(value)}  {known if value else 'none'}"


def _cgroup(event: Mapping[str, Any]) -> str:
    """Who runs there and its path, as far as they are known; else its number."""
    known = (event.get("place"), event.get("cgroup_path"))
    return ": ".join(cells.text(one) for one in known if one) or str(event.get("cgroup"))


def _process(event: Mapping[str, Any]) -> str:
    """With both numbers, where its own pid namespace has another one for it."""
    get = event.get
    told = f"{cells.who(get('comm'), get('pid'))}, thread {get('tid')}"
    own = get("ns_pid")
    return f"{told}, {own} in its own namespace" if own and own != get("pid") else told


def program(get: Callable[[str], Any]) -> Iterator[Line]:
    """What an actor runs, as far as that was recorded; ``get`` gives its columns."""
    if exe := get("exe"):
        yield Line("executable", cells.text(exe))
    if build_id := get("build_id"):
        yield Line("build id", cells.text(build_id))
    if cmdline := get("cmdline"):
        yield Line("says it runs", cells.text(cmdline))
    if parent := get("parent"):
        yield Line("parent", f"process {parent}")


def fields(
    event: Mapping[str, Any], start_ns: int | None, bit5: Bit5, wall: Wall = no_clock
) -> list[Line]:
    """Every column of an event, the known ones in words and the rest as they are.

    ``bit5``: what the recorded kernel calls seal 0x20; ``wall``: its clock.
    """
    get = event.get
    when = get("time_ns")
    since = (
        "" if when is None or start_ns is None else f"{(when - start_ns) / 1e9:.6f} s after start, "
    )
    if (wall_ns := wall(when)) is not None:
        since = f"{date_and_time(wall_ns, 6)}, {since}"
    answer, answered, flag_bits = get("answer"), _answered(event), get("flags") or 0
    if answer is not None and -MAX_ERRNO <= answer < 0:
        answered += f" ({answer})"
    fmode = _FMODE.get(get("fmode") or 0, get("fmode"))
    lines = [
        Line("time", f"{since}boot clock {when} ns"),
        Line("process", _process(event)),
        *program(get),
        Line("user", f"uid {get('uid')}"),
        Line("cgroup", _cgroup(event)),
        Line(
            "operation", f"{cells.text(get('op'))} {cells.requested(get, bit5)}".strip(), "strong"
        ),
        Line("answer", answered, "strong"),
        Line("took", f"{labels.span(get('duration_ns'), cells.NONE)} ({get('duration_ns')} ns)"),
        Line("file", f"{cells.text(get('kind'))} {printable(str(get('name') or '(no name)'))}"),
        Line("object", f"dev {get('dev')} ino {get('ino')} gen {get('gen')}"),
        Line("descriptor", f"fd {get('fd')}, opened for {fmode}"),
        Line("seals", _seals(get("seals"), bit5)),
        Line("seals after", _seals(get("seals_after"), bit5)),
        Line("size", f"{get('size')} bytes, after {get('size_after')}"),
        Line("range", f"offset {get('offset')}, length {get('length')}"),
        Line("mode", f"{(get('mode') or 0) & 0o7777:04o}"),
        Line("writable", f"{get('writable')} shared mappings that can write, at entry"),
        Line("evidence", flags(flag_bits & DOUBTS) or "complete"),
        Line("besides", flags(flag_bits & ~(DOUBTS | _UNSET_FLAGS)) or "-"),
    ]
    if flag_bits & Flag.CHECK_REACHED:
        lines.append(
            Line("seal check", f"asked {get('checks')} times, last answer {get('check_answer')}")
        )
    if flag_bits & Flag.FILE_MMAP_REACHED:
        lines.append(Line("file's mmap", f"answered {get('file_answer')}"))
    lines.append(Line("", ""))
    for name, value in event.items():
        shown = f"{value:#x}" if name == "arg" and isinstance(value, int) else str(value)
        lines.append(Line(printable(name), printable(shown) if value is not None else "-", "quiet"))
    return lines
