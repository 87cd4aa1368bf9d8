"""Cases of exec."""

from tests.unit.rules.rule_cases import EXEC, OLD, PROPOSAL, WRITE, Judged, Told, execute
from tests.unit.rules.rule_words import ALLOWED, error
from tracer.words import Flag, Kind

_PLAIN = 0o100644
_SEALED = "no execute bit, and sealed EXEC"
_FORBIDDEN = "a security module, or what it needs for an interpreter, refused it"
_INFERRED = Told("indeterminate", "unknown", "which file it was is only inferred")

CASES = [
    Judged("exec", execute(), ALLOWED),
    Judged("exec, WRITE", execute(seals=WRITE), ALLOWED),
    Judged("exec, EXEC", execute(seals=EXEC), ALLOWED),
    *(
        case
        for kind in (Kind.MEMFD, Kind.TMPFS, Kind.HUGETLB)
        for case in (
            Judged(f"exec without x, EXEC, {kind.name}",
                   execute("EACCES", seals=EXEC, mode=_PLAIN, flags=Flag.INFERRED, kind=kind),
                   error(_SEALED, "EACCES")),
            Judged(f"exec without x, EXEC, went through, {kind.name}",
                   execute(seals=EXEC, mode=_PLAIN, kind=kind),
                   Told("indeterminate", "unknown", _SEALED)),
            Judged(f"exec without x, {kind.name}",
                   execute("EACCES", mode=_PLAIN, flags=Flag.INFERRED, kind=kind),
                   error("no execute bit", "EACCES")),
            Judged(f"exec with x, inferred, {kind.name}",
                   execute("EACCES", flags=Flag.INFERRED, kind=kind), _INFERRED),
            Judged(f"exec with x, inferred, EPERM, {kind.name}",
                   execute("EPERM", flags=Flag.INFERRED, kind=kind), _INFERRED),
            Judged(f"exec with x, in hand, {kind.name}", execute("EACCES", kind=kind),
                   error(_FORBIDDEN)),
            Judged(f"exec with x, in hand, EPERM, {kind.name}", execute("EPERM", kind=kind),
                   error("a security module refused it")),
        )
    ),
    Judged("exec without x, before 6.3", execute("EACCES", mode=_PLAIN, flags=Flag.INFERRED),
           error("no execute bit", "EACCES"), OLD),
    Judged("exec without x, went through", execute(mode=_PLAIN), ALLOWED),
    Judged("exec, written", execute("ETXTBSY", flags=Flag.INFERRED), error()),
    Judged("exec, no program, WRITE", execute("ENOEXEC", seals=WRITE), error()),
    Judged("exec without x, something else before", execute("E2BIG", mode=_PLAIN),
           error("", "EACCES")),
    Judged("exec without x, INACCESSIBLE", execute("EACCES", seals=EXEC, mode=_PLAIN),
           error("no execute bit", "EACCES"), PROPOSAL),
    Judged("exec, EBUSY", execute("EBUSY"), Told("unexplained", "ok", "no seal says so")),
]  # fmt: skip
