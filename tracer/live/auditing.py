"""Holds a policy against the recording again and again, in a thread of its own.

A whole audit of a long recording takes seconds, in which the tables must go on; it is made anew a
few seconds after something came, and takes at most a tenth of the time.
"""

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tracer.errors import UserError
from tracer.live import cells
from tracer.live.groups import of_records
from tracer.live.snapshot import Audited, Rows
from tracer.recording.reader import Recording
from tracer.rules.verdicts import Verdict

if TYPE_CHECKING:
    from tracer.audit.policy import Policy
    from tracer.audit.result import ClaimResult, Finding, Proof, RecordingAudit

AUDIT = "audit"
"""What alerts of it have as their verdict."""
LEAST_S = 3.0
"""Between two audits."""
_SHARE = 9
_STATES = {
    "fail": Verdict.BREACH,
    "indeterminate": Verdict.INDETERMINATE,
    "pass": Verdict.ALLOWED,
    "not-applicable": Verdict.ERROR,
}
"""Whose symbol and colour a result has."""


class Violation(NamedTuple):
    """One row of evidence that a claim does not hold."""

    key: tuple[object, ...]
    time_ns: int
    text: str
    event: dict[str, object]


class Auditing:
    """The newest audit of one recording; :meth:`look` has it made anew."""

    def __init__(self, policy: "Policy", path: str) -> None:
        self.policy = policy
        self._path = path
        self._audited = Audited(cells.text(policy.name))
        self._violations: Sequence[Violation] = ()
        self._raised: set[tuple[object, ...]] = set()
        self._ids: dict[tuple[object, ...], int] = {}
        self._version: object = None
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; an audit that is being made goes on to its end, and nobody waits for it."""
        self._stopping.set()
        self._wanted.set()

    @property
    def audited(self) -> Audited:
        """What the newest audit says."""
        return self._audited

    def look(self, version: object) -> None:
        """There is something new if ``version`` is another one than before."""
        if version != self._version:
            self._version = version
            self._wanted.set()

    def new_violations(self, until_ns: int | None) -> list[Violation]:
        """Those until a time (None: all) that were not given before, by their time."""
        found = [
            one
            for one in self._violations
            if one.key not in self._raised and (until_ns is None or one.time_ns <= until_ns)
        ]
        self._raised.update(one.key for one in found)
        return found

    # In the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            if self._stopping.is_set():
                return
            self._wanted.clear()
            began_s = time.monotonic()
            self.once()
            self._stopping.wait(max(LEAST_S, _SHARE * (time.monotonic() - began_s)))

    def once(self) -> None:
        """Makes an audit of what is recorded now."""
        from tracer.audit.evaluate import one_recording

        name = cells.text(self.policy.name)
        try:
            with Recording.open(self._path) as recording:
                found = one_recording(self.policy, recording)
        except (UserError, OSError) as error:
            self._audited = Audited(name, problem=cells.text(str(error)))
        except Exception as error:
            # A thread that ends in silence would leave a result that looks new.
            said = f"the audit failed ({type(error).__name__}: {error})"
            self._audited = Audited(name, problem=cells.text(said))
            raise
        else:
            self._violations = sorted(_violations(found), key=lambda one: one.time_ns)
            self._audited = Audited(name, found.result.value, self._rows(found), found)

    def _rows(self, found: "RecordingAudit") -> Rows:
        records, ids = [], []
        for claim in found.claims:
            findings: Sequence[Finding | None] = claim.findings or (None,)
            for one in findings:
                records.append(_record(claim, one))
                key = _key(claim, one)
                ids.append(self._ids.setdefault(key, len(self._ids)))
        places = sorted(range(len(records)), key=lambda at: -_rank(records[at]["state"]))
        return of_records(AUDIT, [records[at] for at in places], [ids[at] for at in places], None)


def _rank(state: object) -> int:
    order = ("not-applicable", "pass", "indeterminate", "fail")
    return order.index(str(state))


def _key(claim: "ClaimResult", finding: "Finding | None") -> tuple[object, ...]:
    if finding is None:
        return (claim.id,)
    return claim.id, finding.object.dev, finding.object.ino, finding.object.gen


def _record(claim: "ClaimResult", finding: "Finding | None") -> dict[str, object]:
    """One row: a claim about one object, or a claim whose scope has none."""
    result = (claim if finding is None else finding).result
    doubts = [*(finding.doubts if finding is not None else ()), *claim.doubts]
    proofs = finding.violations if finding is not None else ()
    evidence = proofs[0].text if proofs else doubts[0].text if doubts else ""
    if finding is None and not evidence:
        evidence = "nothing is in its scope"
    one = finding.object if finding is not None else None
    return {
        "worst": int(_STATES[result.value]),
        "state": result.value,
        "claim": claim.id,
        "kind": one and one.kind,
        "name": one and one.name,
        "dev": one and one.dev,
        "ino": one and one.ino,
        "gen": one and one.gen,
        "seals": one and one.seals,
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
    columns = ("time_ns", "cpu", "seq", "pid", "tid", "uid", "cgroup", "comm", "op", "answer")
    of_object = ("kind", "name", "dev", "ino", "gen", "seals")
    return {
        "claim": claim.id,
        **{name: getattr(proof, name) for name in (*columns, "flags")},
        **{name: getattr(one.object, name) for name in of_object},
    }
