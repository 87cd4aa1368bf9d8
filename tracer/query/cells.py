"""A table cell as a word of the filter language."""

from collections.abc import Collection

from tracer.model.args import SEALS_UNKNOWN
from tracer.model.bit5 import UNKNOWN, Bit5
from tracer.model.errnos import errno_name
from tracer.model.seals import LETTERS
from tracer.model.seals import names as seal_names
from tracer.query import keys
from tracer.query.keys import FLAG_WORDS, Form, Key
from tracer.query.patterns import label, quote


def _is_null(value: object) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # NaN
    except (TypeError, ValueError):  # pandas' NA has no truth value
        return type(value).__name__ == "NAType"


def _number(value: object) -> int:
    """The number in a cell: Python's, numpy's, or a float that is whole."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{value!r} is not a number") from error
    if number != value:
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)


def _seals(bits: int, bit5: Bit5) -> str:
    if bits == SEALS_UNKNOWN:
        return "unknown"
    return f"={seal_names(bits, bit5)}" if bits else "none"


def _flags(bits: int) -> list[str]:
    found = [word for word, bit in FLAG_WORDS.items() if bits & bit]
    if not found or bits & ~sum(FLAG_WORDS.values()):
        raise ValueError(f"flags {bits:#x} have no words")
    return found


def _of_text(key: Key, text: str) -> str:
    if key.form is Form.LABEL:
        return label(text, key.words) if text else "none"
    if key.form is Form.SEALS and len(text) == len(LETTERS) and "-" in text[1:]:
        return f"={text}"  # as tracer.model.seals.text shows them
    return quote(text)


def _value(key: Key, value: object, bit5: Bit5) -> str:
    if isinstance(value, str):
        return _of_text(key, value)
    if key.form is Form.OBJECT and isinstance(value, tuple):
        return ":".join(str(_number(one)) for one in value)
    if key.form in (Form.TEXT, Form.LABEL):
        raise ValueError(f"{key.name}: {value!r} is not a text")
    number = _number(value)
    if key.form is Form.WORD:
        if key.enum is None:
            raise ValueError(f"{key.name}: {value!r} is not a word")
        known = {member.value: member.name.lower() for member in key.enum}
        return known.get(number, f"{key.name}_{number}")
    if key.form is Form.SEALS:
        return _seals(number, bit5)
    if key.form is Form.ANSWER:
        return errno_name(number) or str(number)
    return str(number)


def _of_null(key: Key, negated: bool) -> str:
    sign = "!" if negated else ""
    if key.form is Form.LABEL or (key.form is Form.WORD and key.judged):
        return f"{sign}{key.name}:none"
    if key.form is Form.ANSWER:
        return f"{sign}{key.name}:unknown"
    if key.form is Form.TEXT:
        return f"{'' if negated else '!'}{key.name}:*"
    raise ValueError(f"{key.name} always has a value")


def written(name: str | None, value: object, negated: bool = False, bit5: Bit5 = UNKNOWN) -> str:
    """The word (of flags: the words) for rows whose ``name`` is ``value``.

    See :meth:`tracer.query.query.Query.plus`. ValueError: there is no such word.
    """
    sign = "!" if negated else ""
    if name is None:
        return sign + quote(str(value), bare=True)
    key = keys.find(name)
    if key is None:
        raise ValueError(f"no key {name!r} in filters")
    if _is_null(value):
        return _of_null(key, negated)
    if key.form is Form.FLAGS and not isinstance(value, str | Collection):
        words = _flags(_number(value))
        if negated and len(words) > 1:
            raise ValueError("not these flags together: that is no single word")
        return " ".join(f"{sign}{key.name}:{word}" for word in words)
    several = isinstance(value, Collection) and not isinstance(value, str)
    if several and not (key.form is Form.OBJECT and isinstance(value, tuple)):
        return f"{sign}{key.name}:{','.join(_value(key, one, bit5) for one in value)}"  # type: ignore[attr-defined]
    return f"{sign}{key.name}:{_value(key, value, bit5)}"
