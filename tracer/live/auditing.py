"""Audits the recording again and again, in a thread of its own.

A whole audit of a long recording takes seconds, in which the tables must go on; it is repeated a
few seconds after something came, and takes at most a tenth of the time.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tracer.errors import UserError
from tracer.live import cells
from tracer.live.snapshot import Audited, of_records
from tracer.recording.reader import Recording
from tracer.rules.verdicts import Verdict

if TYPE_CHECKING:
    from tracer.audit.policy import Policy
    from tracer.audit.result import ClaimResult, Finding, Proof, RecordingAudit

LEAST_S = 3.0
"""Between two audits."""
_SHARE = 9
_STATES = {
    "fail": Verdict.BREACH,
    "indeterminate": Verdict.INDETERMINATE,
    "pass": Verdict.ALLOWED,
    "not-applicable": Verdict.ERROR,
}
"""Whose symbol and colour a result has; the worst first."""
_OF_OBJECT = ("kind", "name", "dev", "ino", "gen", "seals")
_OF_CALL = ("time_ns", "cpu", "seq", "pid", "tid", "uid", "cgroup", "comm", "op", "answer", "flags")
Id = tuple[object, ...]


class Violation(NamedTuple):
    """One row of evidence that a claim does not hold."""

    key: Id
    time_ns: int
    text: str
    event: dict[str, object]


class Auditing:
    """The newest audit of one recording; :meth:`look` has it repeated."""

    def __init__(self, policy: "Policy", path: str) -> None:
        self.policy = policy
        self._path = path
        self.audited = Audited(cells.text(policy.name))
        """What the newest audit says."""
        self.violations: Sequence[Violation] = ()
        """All that it found, by their time."""
        self._ids: dict[Id, int] = {}
        self._version: object = None
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it; an audit that is under way goes on to its end, and nobody waits for it."""
        self._stopping.set()
        self._wanted.set()

    def look(self, version: object) -> None:
        """There is something new if ``version`` is another one than before."""
        if version != self._version:
            self._version = version
            self._wanted.set()

    @property
    def wanted(self) -> bool:
        """Something came that no audit has seen."""
        return self._wanted.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            if self._stopping.is_set():
                return
            start_s = time.monotonic()
            self.once()
            self._stopping.wait(max(LEAST_S, _SHARE * (time.monotonic() - start_s)))

    def once(self) -> None:
        """Audits what is recorded now."""
        from tracer.audit.evaluate import one_recording

        self._wanted.clear()
        name = cells.text(self.policy.name)
        try:
            with Recording.open(self._path) as recording:
                found = one_recording(self.policy, recording)
        except (UserError, OSError) as error:
            self.audited = Audited(name, problem=cells.text(str(error)))
        except Exception as error:
            # A thread that ends in silence would leave a result that looks new.
            text = f"the audit failed ({type(error).__name__}: {error})"
            self.audited = Audited(name, problem=cells.text(text))
            raise
        else:
            self.violations = sorted(_violations(found), key=lambda one: one.time_ns)
            rows = [row for claim in found.claims for row in self._rows(claim)]
            rows.sort(key=lambda row: list(_STATES).index(str(row[1]["state"])))
            ids, records = [row[0] for row in rows], [row[1] for row in rows]
            table = of_records("audit", records, ids, None)
            self.audited = Audited(name, found.result.value, table, found)

    def _rows(self, claim: "ClaimResult") -> Iterator[tuple[int, dict[str, object]]]:
        """Id and record of each row: the claim about one object, or one whose scope has none."""
        findings: Sequence[Finding | None] = claim.findings or (None,)
        for one in findings:
            yield self._ids.setdefault(_key(claim, one), len(self._ids)), _record(claim, one)


def _key(claim: "ClaimResult", finding: "Finding | None") -> Id:
    if finding is None:
        return (claim.id,)
    return claim.id, finding.object.dev, finding.object.ino, finding.object.gen


def _record(claim: "ClaimResult", finding: "Finding | None") -> dict[str, object]:
    result = (claim if finding is None else finding).result.value
    doubts = [*(finding.doubts if finding is not None else ()), *claim.doubts]
    proofs = finding.violations if finding is not None else ()
    evidence = proofs[0].text if proofs else doubts[0].text if doubts else ""
    if finding is None and not evidence:
        evidence = "nothing is in its scope"
    of = finding.object if finding is not None else None
    return {
        "worst": int(_STATES[result]),
        "state": result,
        "claim": claim.id,
        **{name: getattr(of, name, None) for name in _OF_OBJECT},
        # ``n`` goes to rows that have some, as it does in the tables of decisions.
        "breach": len(proofs) + finding.more if finding is not None else 0,
        "time_ns": proofs[0].time_ns if proofs else None,
        "evidence": evidence,
    }


def _violations(found: "RecordingAudit") -> list[Violation]:
    return [
        Violation(
            (*_key(claim, one), proof.table, proof.cpu, proof.seq),
            proof.time_ns,
            f"{claim.id}: {proof.text}",
            _event(claim, one, proof),
        )
        for claim in found.claims
        for one in claim.findings
        if one.result.value == "fail"
        for proof in one.violations
    ]


def _event(claim: "ClaimResult", one: "Finding", proof: "Proof") -> dict[str, object]:
    return {
        "claim": claim.id,
        **{name: getattr(proof, name) for name in _OF_CALL},
        **{name: getattr(one.object, name) for name in _OF_OBJECT},
    }
