"""Cases of convert: no file, no seals; of a refused one the range is the caller's own word."""

from tests.unit.rules.rule_cases import Judged, Row, Told, event
from tests.unit.rules.rule_words import ALLOWED, error
from tracer.words import Flag, Kind, Op

_PAGE = 4096
_UNKNOWN = "an attribute that KVM does not know"


def _convert(answer: int | str = 0, **fields: int) -> Row:
    """Four pages to shared, taken unless it was refused."""
    taken = not isinstance(answer, str)
    given: dict[str, int] = {
        "offset": 16 * _PAGE, "length": 4 * _PAGE, "arg": 0, "size": 0, "mode": 0, "fmode": 0,
        "flags": 0 if taken else Flag.INFERRED, "check_answer": 1 if taken else 0,
    }  # fmt: skip
    return event(Op.CONVERT, answer, Kind.UNKNOWN, **given | fields)


CASES = [
    Judged("convert", _convert(), ALLOWED),
    Judged("convert to private", _convert(arg=8), ALLOWED),
    Judged("convert to private, no such memory", _convert("EINVAL", arg=8), error()),
    Judged("convert unknown", _convert("EINVAL", arg=0x18), error(_UNKNOWN, "EINVAL")),
    Judged("convert unknown, EPERM", _convert("EPERM", arg=0x10),
           Told("unexplained", "EINVAL", "no seal says so")),
    Judged("convert unknown, went through", _convert(arg=0x10),
           Told("indeterminate", "unknown", _UNKNOWN)),
    Judged("convert where there is none", _convert("ENOTTY", arg=8), error()),
    Judged("convert another one's", _convert("EIO"), error()),
    Judged("convert without memory", _convert("ENOMEM", check_answer=1, flags=0), error()),
    Judged("convert, EPERM", _convert("EPERM"), Told("unexplained", "ok", "no seal says so")),
]  # fmt: skip
