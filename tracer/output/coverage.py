"""What a recording could see and what it lost, from its manifest, end marker and losses.

All of these may be somebody else's: text is made printable.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from tracer.escape import printable
from tracer.output.data import column
from tracer.output.report import Coverage, SelfTest, Unseen
from tracer.output.text import CONTEXT, losses
from tracer.recording.clock import Anchor
from tracer.recording.manifest import End, Filters, Manifest
from tracer.recording.reader import ALIVE, KILLED, Recording
from tracer.words import HookState, names


def labels(manifests: Sequence[Manifest]) -> list[str]:
    """A host column's text for each: the shortest that tells apart what was booted apart.

    The host's name; where several boots share it with the kernel release, or with the boot id.
    """
    boots = [printable(one.boot_id or "") or f"?{place}" for place, one in enumerate(manifests)]
    hosts = [printable(one.host_name) for one in manifests]
    releases = [printable(one.kernel.release) for one in manifests]
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


def modules_that_came(tables: Iterable[pa.Table]) -> frozenset[str]:
    """Hooks of modules that were loaded while it was recorded, from the table ``mappings``."""
    found = set[str]()
    for table in tables:
        columns = (column(table, name, None) for name in ("op", "answer", "hook"))
        found |= {str(hook) for op, answer, hook in zip(*columns, strict=True)
                  if op == "attach" and answer == 0}  # fmt: skip
    return frozenset(found)


def unseen(manifest: Manifest, came: Collection[str] = ()) -> tuple[Unseen, ...]:
    """The hook families that were not live, the essential ones first."""
    found = [
        Unseen(
            printable(step.family),
            printable(step.unseen),
            printable(step.reason),
            step.essential and step.state(came) == HookState.FAILED,
        )
        for step in manifest.hooks
        if step.state(came) != HookState.LIVE
    ]
    return tuple(sorted(found, key=lambda one: not one.essential))


def self_test(manifest: Manifest) -> SelfTest:
    """The self-test's result (tracer.selftest.run)."""
    test = manifest.tested
    silent = [
        f"{printable(family)} {count.seen} of {count.expected}"
        for family, count in sorted((test.hooks or {}).items())
        if count.seen != count.expected
    ]
    unknown = "nothing is known of them" if test.hooks is None else ""
    return SelfTest(
        ran=test.ran,
        cases=test.cases,
        variants={
            printable(question): printable(choice)
            for question, choice in sorted(test.variants.items())
        },
        unexplained=len(test.unexplained),
        silent=tuple(silent),
        lost={printable(cause): count for cause, count in test.lost.items()},
        bit_0x20=printable(test.bit_0x20) or None,
        failed=printable(test.failed or ""),
        open=tuple(map(printable, test.open)),
        holes=tuple(map(printable, test.holes)),
        unconfirmed=printable(test.hooks_note or "") or unknown,
    )


def _filters(manifest: Manifest) -> str:
    said = manifest.filters or Filters()
    shown = []
    for word, values in (("pid", said.pids), ("uid", said.uids), ("cgroup", said.cgroups)):
        if values:
            shown.append(f"{word} {','.join(map(str, values))}")
    if said.name:
        shown.append(f"name {printable(said.name)}…")
    if said.seals:
        shown.append(f"seals {names(said.seals, manifest.bit5)}")
    if said.denied:
        shown.append("only what failed")
    if not all(step.requested for step in manifest.hooks):
        shown.append("only some operations")
    if said.follow_command and manifest.command:
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
    end = recording.end or End()
    if end.stopped_early:
        problems.append(f"the recorder stopped early: {printable(end.reason or '')}")
    manifest = recording.manifest
    times = [anchor.boot_ns for anchor in known] + ([] if last_ns is None else [last_ns])
    came = modules_that_came(recording.tables("mappings", ["op", "answer", "hook"]))
    return Coverage(
        path=printable(recording.path),
        host=host,
        boot_id=boot_id,
        kernel=printable(manifest.kernel.release) or "unknown",
        command=" ".join(map(printable, manifest.command)),
        filters=_filters(manifest),
        start_ns=known[0].boot_ns if known else None,
        end_ns=max(times, default=None),
        started=_started(known),
        state="ended" if recording.end is not None else "alive" if ALIVE in problems else "killed",
        reason=printable(end.reason or ""),
        hooks_live=sum(step.state(came) == HookState.LIVE for step in manifest.hooks),
        hooks=len(manifest.hooks),
        unseen=unseen(manifest, came),
        blind_spots=tuple(map(printable, manifest.blind_spots)),
        self_test=self_test(manifest),
        lost={cause: counts[cause] for cause, _ in counts.most_common() if cause not in CONTEXT},
        incomplete={cause: counts[cause] for cause in CONTEXT if counts[cause]},
        problems=tuple(printable(one) for one in problems if one not in (ALIVE, KILLED)),
    )
