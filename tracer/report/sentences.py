"""Coverage and loss in plain sentences, the same for the terminal and the HTML file."""

from collections import Counter
from collections.abc import Iterator

from tracer.report.model import Coverage, Question, Report, SelfTest
from tracer.text.narrate import loss_sentences

KILLED = "The recorder was killed or the machine went down: the last events may be missing."
ALIVE = "The recording is still being written: this is what is there now."


def title(one: Coverage) -> str:
    """``w.seal: host h1, kernel 6.1.0, from 2026-11-22T17:48:10Z, 2.970 s``."""
    parts = [f"host {one.host}"] if one.host else []
    if one.kernel not in one.host:
        parts.append(f"kernel {one.kernel}")
    parts.append(f"from {one.started}" if one.started else "start unknown")
    if one.seconds is not None:
        parts.append(f"{one.seconds:.3f} s")
    return f"{one.path}: {', '.join(parts)}"


def alarms(one: Coverage) -> Iterator[str]:
    """What makes the numbers of a recording incomplete; nothing for one that is whole."""
    if one.state == "killed":
        yield KILLED
    if one.lost:
        yield f"{loss_sentences(Counter(one.lost))[0]}. No count below includes them."
    yield from one.problems


def remarks(one: Coverage) -> Iterator[str]:
    """What else limits what a recording can tell."""
    if one.state == "alive":
        yield ALIVE
    yield from loss_sentences(Counter(one.incomplete))
    if one.filters:
        yield f"recorded with filters: {one.filters}"


def hooks(one: Coverage) -> str:
    """``17 of 18 hooks live``."""
    return f"{one.hooks_live} of {one.hooks} hooks live" if one.hooks else "hooks not known"


def lost(one: Coverage) -> str:
    """``nothing lost``, the number of events, or that it is not known."""
    total = sum(one.lost.values())
    if total:
        return f"LOST {total:,} events"
    return "NOT WHOLE (see above)" if any(alarms(one)) else "nothing lost"


def self_test(test: SelfTest) -> Iterator[tuple[str, bool]]:
    """The self-test's result: sentences, and whether each is an alarm."""
    if not test.ran:
        failed = f"self-test FAILED: {test.failed}" if test.failed else "self-test did not run"
        yield f"{failed}; what depends on this kernel's variant is indeterminate", bool(test.failed)
        return
    said = [f"self-test of {test.cases:,} cases"]
    if not test.unexplained:
        said.append("every answer documented")
    if not test.silent and not test.unconfirmed:
        said.append("every hook reported every attempt")
    if test.bit_0x20:
        said.append(f"seal 0x20 is {test.bit_0x20}")
    yield ", ".join(said), False
    if test.unexplained:
        yield f"self-test: {test.unexplained} ANSWERS THAT NO DOCUMENTED VARIANT GIVES", True
    if test.silent:
        lost = ", ".join(f"{cause} {count:,}" for cause, count in test.lost.items())
        meanwhile = f" (lost meanwhile: {lost})" if lost else ""
        yield f"self-test: HOOKS THAT MISSED ATTEMPTS: {', '.join(test.silent)}{meanwhile}", True
    if test.unconfirmed:
        yield f"self-test: hooks not all confirmed, {test.unconfirmed}", False
    if test.open:
        yield f"self-test: open questions: {', '.join(test.open)}", False
    if test.holes:
        yield f"KNOWN HOLES of this kernel: {', '.join(test.holes)}", False


def unseen(one: Coverage) -> Iterator[tuple[str, bool]]:
    """``(what stays unseen and why, whether that is a gap)`` for hooks that are not live."""
    for family in one.unseen:
        yield f"{family.what or family.family}; {family.reason}", family.essential


def question(asked: Question) -> str:
    """What the report was narrowed down to; empty for everything."""
    said = [f"filter {asked.filter}"] if asked.filter else []
    said += [f"since {asked.since}"] if asked.since else []
    said += [f"until {asked.until}"] if asked.until else []
    return ", ".join(said)


def listed(verdict: str, count: int, different: int) -> str:
    """``BREACH: 40 decisions, 3 different``."""
    said = f"{verdict.upper()}: {count:,} {'decision' if count == 1 else 'decisions'}"
    return f"{said}, {different:,} different" if 1 < different < count else said


def unlisted(count: int) -> str:
    """Of how many decisions a list has no row."""
    return f"{count:,} more decisions are counted, but not kept one by one"


def _left_out(count: int) -> str:
    files = "memory file" if count == 1 else "memory files"
    return (
        f"{count:,} {files} can never be sealed (made without MFD_ALLOW_SEALING, or sealed SEAL "
        "alone): calls from then on were not recorded; record with --unsealable for those"
    )


def notes(report: Report) -> Iterator[str]:
    """What the numbers of verdicts do not tell."""
    if report.left_out:
        yield _left_out(report.left_out)
    if report.unannounced:
        yield (
            f"{report.unannounced:,} decisions are on files whose name, owner and largest folio "
            "are not known"
        )
