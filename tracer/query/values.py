"""The values of each type of key, read as conditions on columns."""

import re
from collections.abc import Callable

from tracer.model.errnos import ERRNOS, MAX_ERRNO, errno_name, errno_number
from tracer.model.words import Flag
from tracer.query import patterns, sealsets
from tracer.query.conditions import Alternative, Bits, In, Like, Range
from tracer.query.errors import hint, nearest
from tracer.query.keys import BARE, FLAG_WORDS, Form, Key
from tracer.query.lexer import Part
from tracer.query.numbers import BYTES, NANOSECONDS, PLAIN, Numbers

_PREFIX = "(?:memfd:)?"
"""The kernel's, before what the maker of a memfd calls it (mm/memfd.c, MFD_NAME_PREFIX)."""
_OBJECT = re.compile(
    r"(?:([0-9]{1,4}):([0-9]{1,7})/([0-9]{1,20})|([0-9]{1,10}):([0-9]{1,20}))(?::([0-9]{1,10}))?"
)
_FLAG_ALIASES = {
    "raced-seals": "raced",
    "entry-missing": "no-entry",
    "return-missing": "no-return",
    "kernel-task": "kernel",
}
_UNITS = {
    Form.NUMBER: PLAIN,
    Form.BYTES: BYTES,
    Form.ANSWER: BYTES,
    Form.DURATION: NANOSECONDS,
}


def bare(part: Part) -> Alternative:
    """A word without a key: name or comm contains it, whatever the case."""
    pattern = patterns.pattern(part, bare=True)
    regex = pattern.regex()
    return Alternative(pattern.written(bare=True), tuple((Like(c, regex, True),) for c in BARE))


def _text(key: Key, part: Part) -> Alternative:
    pattern = patterns.pattern(part)
    if key.name == "comm":
        problem = patterns.comm_problem([text for text, wild in pattern.pieces if not wild])
        if problem:
            raise part.error(problem)
    prefix = _PREFIX if key.name == "name" and not pattern.contains else ""
    like = Like(key.columns[0], prefix + pattern.regex(), ignore_case=pattern.contains)
    return Alternative(pattern.written(), ((like,),))


def _nothing(key: Key, part: Part) -> Alternative | None:
    """``none`` and ``any`` of what a decision may lack."""
    word = part.plain.lower()
    if part.quoted or word not in ("none", "any"):
        return None
    like = Like(key.columns[0], "" if word == "none" else ".+", null=word == "none")
    return Alternative(word, ((like,),))


def _label(key: Key, part: Part) -> Alternative:
    """Of ``FUTURE_WRITE|WRITE`` each seal matches by itself.

    A rule that is not known here (somebody judges by rules of his own) has to be quoted.
    """
    nothing = _nothing(key, part)
    if nothing is not None:
        return nothing
    pattern = patterns.pattern(part)
    written = pattern.written()
    literal = pattern.literal
    if literal is not None:
        known = {word.lower() for word in key.words}
        if known and literal.lower() not in known and not part.quoted:
            near = nearest(literal, key.words)
            raise part.error(f"there is no {key.name} {literal!r}; {hint(near, key.words)}", near)
        written = patterns.label(literal, key.words)
    regex = rf"(?:.*\|)?{pattern.regex()}(?:\|.*)?"
    return Alternative(written, ((Like(key.columns[0], regex, ignore_case=True),),))


def _word(key: Key, part: Part) -> Alternative:
    nothing = _nothing(key, part) if key.judged else None
    if nothing is not None:
        return nothing
    pattern = patterns.pattern(part).lower()
    literal = pattern.literal
    if literal is None:
        regex = pattern.regex()
        if not any(re.fullmatch(regex, word, re.I | re.S) for word in key.words):
            raise part.error(f"no {key.name} is like {part.plain}")
        return Alternative(pattern.written(), ((Like(key.columns[0], regex, True),),))
    known = {word.lower(): word for word in key.words}
    # Numbers that have no word yet are stored as op_77 (tracer/store/words.py).
    if re.fullmatch(f"{key.name}_[0-9]{{1,5}}", literal):
        known[literal] = literal
    word = known.get(literal)
    if word is None:
        near = nearest(literal, key.words)
        raise part.error(f"there is no {key.name} {part.plain!r}; {hint(near, key.words)}", near)
    return Alternative(word, ((Like(key.columns[0], re.escape(word), True),),))


def _number(key: Key, part: Part) -> Alternative:
    numbers = Numbers(key.name, key.example, _UNITS[key.form], dict(key.named))
    text, ranges = numbers.ranges(part)
    return Alternative(text, ((In(key.columns[0], ranges),),))


def _answer(key: Key, part: Part) -> Alternative:
    """A call whose return was not seen matches ``unknown`` only."""
    column, flags = key.columns
    word = part.plain
    text: str
    ranges: tuple[Range, ...]
    missing = int(Flag.RETURN_MISSING)
    if word.lower() == "unknown":
        return Alternative("unknown", ((Bits(flags, missing, missing),),))
    if word.lower() == "ok":
        text, ranges = "ok", ((None, -MAX_ERRNO - 1), (0, None))
    elif word.lower() == "error":
        text, ranges = "error", ((-MAX_ERRNO, -1),)
    elif word[:1].isalpha():
        text, ranges = _errno(part, word.upper())
    else:
        text, ranges = Numbers(key.name, key.example, BYTES).ranges(part)
    return Alternative(text, ((In(column, ranges), Bits(flags, missing, 0)),))


def _errno(part: Part, word: str) -> tuple[str, tuple[Range, ...]]:
    number = errno_number(word)
    if number is None:
        near = nearest(word, [*ERRNOS, "ok", "error", "unknown"])
        raise part.error(
            f"there is no answer {part.plain!r}; "
            + hint(near, ["ok", "error", "unknown", "an errno such as EPERM", "a number"]),
            near,
        )
    return errno_name(-number) or word, ((-number, -number),)


def _flag(key: Key, part: Part) -> Alternative:
    word = part.plain.lower().replace("_", "-")
    word = _FLAG_ALIASES.get(word, word)
    if word not in FLAG_WORDS:
        near = nearest(word, FLAG_WORDS)
        raise part.error(f"there is no flag {part.plain!r}; {hint(near, FLAG_WORDS)}", near)
    bit = int(FLAG_WORDS[word])
    return Alternative(word, ((Bits(key.columns[0], bit, bit),),))


def _object(key: Key, part: Part) -> Alternative:
    found = _OBJECT.fullmatch(part.plain)
    if found is None:
        raise part.error(
            f"{part.plain!r} is no memory file: DEV:INO, DEV:INO:GEN or MAJOR:MINOR/INO"
        )
    major, minor, place, dev, ino, gen = (
        None if one is None else int(one) for one in found.groups()
    )
    if dev is None:  # as script shows a file without a name; the kernel's dev_t has 20 minor bits
        dev, ino = (major or 0) << 20 | (minor or 0), place
    numbers = [number for number in (dev, ino, gen) if number is not None]
    tests = tuple(
        In(column, ((number, number),))
        for column, number in zip(key.columns, numbers, strict=False)
    )
    return Alternative(":".join(map(str, numbers)), (tests,))


def _seals(key: Key, part: Part) -> Alternative:
    return sealsets.alternative(part, key.columns[0])


_READ: dict[Form, Callable[[Key, Part], Alternative]] = {
    Form.WORD: _word,
    Form.TEXT: _text,
    Form.LABEL: _label,
    Form.NUMBER: _number,
    Form.BYTES: _number,
    Form.DURATION: _number,
    Form.SEALS: _seals,
    Form.ANSWER: _answer,
    Form.FLAGS: _flag,
    Form.OBJECT: _object,
}


def alternatives(key: Key, parts: tuple[Part, ...]) -> tuple[Alternative, ...]:
    """What each of ``parts`` means for ``key``. QueryError for one that means nothing."""
    for part in parts:
        if not part.chars:
            much = "a value is missing" if len(parts) == 1 else "nothing stands beside a comma"
            raise part.error(f"{key.name}: {much}; for example {key.example}")
    if key.form is Form.SEALS:
        sealsets.check_signs(parts)
    return tuple(_READ[key.form](key, part) for part in parts)
