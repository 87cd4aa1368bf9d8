"""An audit in sentences, the same for the terminal and the HTML file."""

from collections.abc import Iterator

from tracer.audit.results import AuditedObject, ClaimResult, Finding, Proof, RecordingAudit
from tracer.model.args import seals_text


def window(one: RecordingAudit) -> Iterator[str]:
    """From when to when, in both clocks."""
    if one.window.start_ns is None or one.window.end_ns is None:
        yield "window: not known"
        return
    seconds = (one.window.end_ns - one.window.start_ns) / 1e9
    wall = f"{one.window.start or '?'} to {one.window.end or '?'}"
    boot = f"{one.window.start_ns} to {one.window.end_ns} ns after boot {one.boot_id or '?'}"
    yield f"window: {wall}, {seconds:.3f} s; {boot}"
    if one.window.wall_jump_s > 1:
        jump = f"{one.window.wall_jump_s:.0f} s"
        yield f"the wall clock was set by {jump} meanwhile; the boot clock holds"


def host(one: RecordingAudit) -> str:
    """``h1, kernel 7.3.4``."""
    return ", ".join(
        part for part in (one.host, f"kernel {one.kernel}" if one.kernel else "") if part
    )


def losses(one: RecordingAudit) -> str:
    """What the recorder counted as lost."""
    if not one.losses:
        return "nothing lost"
    return "LOST " + ", ".join(f"{count:,} {cause}" for cause, count in one.losses.items())


def coverage(one: RecordingAudit) -> str:
    """``17 of 19 hooks that the claims need are live``."""
    needed = {need.family: need for claim in one.claims for need in claim.needs}
    live = sum(need.state == "live" for need in needed.values())
    absent = sum(need.state == "absent" for need in needed.values())
    more = f", {absent} have nothing to see on this kernel" if absent else ""
    return f"{live} of {len(needed)} hooks that the claims need are live{more}"


def gaps(one: RecordingAudit) -> Iterator[str]:
    """Needed hooks that saw nothing."""
    seen = set()
    for claim in one.claims:
        for need in claim.needs:
            if not need.holds and need.family not in seen:
                seen.add(need.family)
                yield f"{need.family} is {need.state}" + (f": {need.reason}" if need.reason else "")


def title(claim: ClaimResult) -> str:
    """``only-vmm (mapped-only-by): Only these map it.``"""
    kind = f" ({claim.claim})" if claim.id != claim.claim else ""
    return f"{claim.id}{kind}: {claim.text}"


def named(one: AuditedObject) -> str:
    """``memfd:ram 1/1040``: kind, name, device and inode."""
    name = f":{(one.name or '?').removeprefix('memfd:')}" if one.name is not None else ""
    seals = f" {seals_text(one.seals)}" if one.seals is not None and one.seals else ""
    return f"{one.kind}{name} (device {one.dev >> 20}:{one.dev & 0xFFFFF}, inode {one.ino}){seals}"


def counted(claim: ClaimResult) -> str:
    """``3 objects: 1 fail, 2 pass``."""
    if not claim.findings:
        return "nothing in scope"
    counts: dict[str, int] = {}
    for finding in claim.findings:
        counts[finding.result.value] = counts.get(finding.result.value, 0) + 1
    total = len(claim.findings)
    said = ", ".join(f"{count:,} {word}" for word, count in counts.items())
    return f"{total:,} {'object' if total == 1 else 'objects'}: {said}"


def proof(one: Proof, start_ns: int | None) -> str:
    """One line of evidence, with its place in the recording."""
    when = (
        f"{(one.time_ns - start_ns) / 1e9:+.6f} s" if start_ns is not None else f"{one.time_ns} ns"
    )
    times = f", {one.count:,} times" if one.count > 1 else ""
    asked = f" [{one.asked}]" if one.asked else ""
    cpu = "recorder" if one.cpu == 0xFFFF else f"CPU {one.cpu}"
    return f"{when} {one.text}{asked}{times} ({one.table}, {cpu} #{one.seq})"


def more(finding: Finding) -> str:
    """How much evidence is not listed."""
    return f"and {finding.more:,} more like these" if finding.more else ""
