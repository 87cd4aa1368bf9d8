"""What a recording could see and what it lost, from its manifest, end marker and losses.

Everything comes from files that may be somebody else's: a value of another type than ours writes
counts as absent, and text is made printable.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tracer.escape import printable
from tracer.output.data import column
from tracer.output.report import Coverage, SelfTest, Unseen
from tracer.output.text import CONTEXT, losses
from tracer.recording.clock import Anchor
from tracer.recording.reader import ALIVE, KILLED, Recording
from tracer.words import bit5_in, names


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def text(value: object) -> str:
    """A manifest's text, safe to print; empty where it is none."""
    return printable(value) if isinstance(value, str) else ""


def boot_of(manifest: Mapping[str, Any]) -> str:
    """The boot id, empty where the manifest has none."""
    return text(manifest.get("boot_id"))


def labels(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """A host column's text for each: the shortest that tells apart what was booted apart.

    The host's name; where several boots share it with the kernel release, or with the boot id.
    """
    boots = [boot_of(one) or f"?{place}" for place, one in enumerate(manifests)]
    hosts = [_host(one) for one in manifests]
    releases = [text(_dict(one.get("kernel")).get("release")) for one in manifests]
    with_release = [f"{a} {b}" for a, b in zip(hosts, releases, strict=True)]
    with_boot = [f"{a} {b[:8]}" for a, b in zip(with_release, boots, strict=True)]
    shown = []
    for place, boot in enumerate(boots):
        for form in (hosts, with_release, with_boot, [f"{one} #{boot}" for one in hosts]):
            others = {form[other] for other, b in enumerate(boots) if b != boot}
            if form[place] not in others:
                break
        shown.append(form[place].strip())
    return shown


def _host(manifest: Mapping[str, Any]) -> str:
    name = text(manifest.get("host"))
    # The kernel's own word where no name was set, as in a guest.
    return "" if name == "(none)" else name


LIVE, WAITING, ABSENT, NOT_LIVE = "live", "waiting", "absent", "not live"


def hook_state(step: Mapping[str, Any], came: Collection[str] = ()) -> str:
    """What became of a family of the hook plan (``hooks`` of a manifest), for every view alike.

    ``waiting``: its module was not loaded, so that nothing can have happened there; ``absent``:
    this kernel has nothing there; ``came``: hooks of modules that were loaded meanwhile.
    """
    if not text(step.get("method")):
        return ABSENT if _absent(step) else NOT_LIVE
    there = text(step.get("symbol")) or text(step.get("hook")) in came
    return LIVE if there else WAITING


def _absent(step: Mapping[str, Any]) -> bool:
    """Whether this kernel lacks the very functions, so that nothing can happen in them.

    Recorders that do not say so give a reason; one with a dot in the name is about a struct's
    member, or a changed copy of the function, which would be there and unseen.
    """
    if isinstance(step.get("absent"), bool):
        return step["absent"] is True
    reason = str(step.get("reason") or "")
    return (
        step.get("essential") is False
        and reason.startswith("this kernel has no ")
        and "." not in reason
    )


def modules_that_came(tables: Iterable[pa.Table]) -> frozenset[str]:
    """Hooks of modules that were loaded while it was recorded, from the table ``mappings``."""
    found = set[str]()
    for table in tables:
        columns = (column(table, name, None) for name in ("op", "answer", "hook"))
        found |= {str(hook) for op, answer, hook in zip(*columns, strict=True)
                  if op == "attach" and answer == 0}  # fmt: skip
    return frozenset(found)


def unseen(manifest: Mapping[str, Any], came: Collection[str] = ()) -> tuple[Unseen, ...]:
    """The hook families that were not live, the essential ones first."""
    found = [
        Unseen(
            text(step.get("family")),
            text(step.get("unseen")),
            text(step.get("reason")),
            step.get("essential") is not False and hook_state(step, came) == NOT_LIVE,
        )
        for step in map(_dict, _list(manifest.get("hooks")))
        if hook_state(step, came) != LIVE
    ]
    return tuple(sorted(found, key=lambda one: not one.essential))


def self_test(manifest: Mapping[str, Any]) -> SelfTest:
    """The self-test's result (tracer.selftest.run)."""
    result = _dict(manifest.get("self_test"))
    silent = []
    for family, counts in sorted(_dict(result.get("hooks")).items()):
        seen, expected = (_int(_dict(counts).get(key)) for key in ("seen", "expected"))
        if seen != expected:
            silent.append(f"{text(family)} {seen} of {expected}")
    variants = _dict(result.get("variants"))
    note = text(result.get("hooks_note"))
    if not note and not isinstance(result.get("hooks"), dict):
        note = "nothing is known of them"
    return SelfTest(
        ran=result.get("ran") is True,
        cases=_int(result.get("cases")),
        variants={text(question): text(choice) for question, choice in sorted(variants.items())},
        unexplained=len(_list(result.get("unexplained"))),
        silent=tuple(silent),
        lost={text(cause): _int(count) for cause, count in _dict(result.get("lost")).items()},
        bit_0x20=text(result.get("bit_0x20")) or None,
        failed=text(result.get("failed")),
        open=tuple(map(text, _list(result.get("open")))),
        holes=tuple(map(text, _list(result.get("holes")))),
        unconfirmed=note,
    )


def _filters(manifest: Mapping[str, Any]) -> str:
    said = _dict(manifest.get("filters"))
    shown = []
    for key, word in (("pids", "pid"), ("uids", "uid"), ("cgroups", "cgroup")):
        if values := [str(one) for one in _list(said.get(key)) if isinstance(one, int)]:
            shown.append(f"{word} {','.join(values)}")
    if name := text(said.get("name")):
        shown.append(f"name {name}…")
    if seals := _int(said.get("seals")):
        shown.append(f"seals {names(seals, bit5_in(manifest))}")
    if said.get("denied") is True:
        shown.append("only what failed")
    if any(one.reason == "not asked for" for one in unseen(manifest)):
        shown.append("only some operations")
    if said.get("follow_command") is True and _list(manifest.get("command")):
        shown.append("only the command and its children")
    return "; ".join(shown)


def anchors(recording: Recording) -> list[Anchor]:
    """Both clocks, each time that the recorder read them."""
    found = []
    for table in recording.tables("clocks", ["time_ns", "realtime_ns"]):
        pairs = zip(column(table, "time_ns", 0), column(table, "realtime_ns", 0), strict=True)
        found += [Anchor(boot, wall) for boot, wall in pairs]
    return found


def _started(known: Sequence[Anchor]) -> str | None:
    try:
        when = datetime.fromtimestamp(known[0].wall_ns / 1e9, UTC)
    except (IndexError, ValueError, OverflowError, OSError):
        return None
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def coverage(
    recording: Recording,
    host: str,
    boot_id: str,
    last_ns: int | None,
) -> Coverage:
    """What ``recording`` could see and lost; ``last_ns`` is the boot time of its last event."""
    known = anchors(recording)
    counts = losses(recording)
    problems = list(recording.problems)
    end = _dict(recording.end)
    if end.get("stopped_early"):
        problems.append(f"the recorder stopped early: {text(end.get('reason'))}")
    manifest = recording.manifest
    times = [anchor.boot_ns for anchor in known] + ([] if last_ns is None else [last_ns])
    command = [text(word) for word in _list(manifest.get("command"))]
    steps = [_dict(step) for step in _list(manifest.get("hooks"))]
    came = modules_that_came(recording.tables("mappings", ["op", "answer", "hook"]))
    return Coverage(
        path=printable(recording.path),
        host=host,
        boot_id=boot_id,
        kernel=text(_dict(manifest.get("kernel")).get("release")) or "unknown",
        command=" ".join(command),
        filters=_filters(manifest),
        start_ns=known[0].boot_ns if known else None,
        end_ns=max(times, default=None),
        started=_started(known),
        state="ended" if recording.end is not None else "alive" if ALIVE in problems else "killed",
        reason=text(end.get("reason")),
        hooks_live=sum(hook_state(step, came) == LIVE for step in steps),
        hooks=len(steps),
        unseen=unseen(manifest, came),
        blind_spots=tuple(text(spot) for spot in _list(manifest.get("blind_spots"))),
        self_test=self_test(manifest),
        lost={cause: counts[cause] for cause, _ in counts.most_common() if cause not in CONTEXT},
        incomplete={cause: counts[cause] for cause in CONTEXT if counts[cause]},
        problems=tuple(printable(one) for one in problems if one not in (ALIVE, KILLED)),
    )
