"""Filters: the table of their keys, and the query that a text becomes.

Help, errors and completion come from the table. Parsing needs neither numpy nor pandas.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from tracer.errors import hint, nearest
from tracer.filter import grammar
from tracer.filter.grammar import (
    BYTES,
    NANOSECONDS,
    PLAIN,
    RESERVED,
    Alternative,
    Bits,
    In,
    Like,
    Numbers,
    Part,
    QueryError,
    Range,
    Term,
    Word,
    label,
    quote,
    words,
)
from tracer.labels import ERRNOS, FLAGS, MAX_ERRNO, SEALS_UNKNOWN, errno_name, errno_number
from tracer.rules import RULES
from tracer.rules.variants import HOLES
from tracer.rules.verdicts import Verdict
from tracer.words import BY_NAME, LETTERS, UNKNOWN, Bit5, Flag, Hook, Kind, Op
from tracer.words import names as seal_names

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Form(Enum):
    """How the values of a key are written and compared."""

    WORD = "one of a few known words"
    TEXT = "data: exact case, * and ?, ~ for 'contains'"
    LABEL = "words of the rules: as TEXT, but in any case; none, any"
    NUMBER = "a whole number, > >= < <=, or a range A..B"
    BYTES = "as NUMBER, with K, M, G or T (1024)"
    DURATION = "as NUMBER, with ns, us, ms or s; ns where there is no unit"
    SEALS = "+SET has all, -SET has none, =SET has just these"
    ANSWER = "ok, error, unknown, an errno, or as BYTES"
    FLAGS = "one of the marks that script shows behind the answer"
    OBJECT = "DEV:INO or DEV:INO:GEN"


@dataclass(frozen=True)
class Key:
    """One word before the colon. ``columns``: those that it looks at."""

    name: str
    columns: tuple[str, ...]
    form: Form
    help: str
    example: str
    aliases: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """The values that WORD, FLAGS and LABEL keys know; of others the most common ones."""
    enum: type[IntEnum] | None = None
    """What the numbers mean in a column that has numbers instead of words."""
    judged: bool = False
    """Only judged decisions have it."""
    named: Mapping[str, int] = field(default_factory=dict)
    """Numbers that have a word of their own."""


FLAG_WORDS: Mapping[str, Flag] = {word: flag for flag, (word, _) in FLAGS.items()}


def _words(enum: type[IntEnum]) -> tuple[str, ...]:
    return tuple(member.name.lower() for member in enum)


_SEALS = ("none", "any", "unknown", *(f"+{name}" for name in BY_NAME))
_ANSWERS = ("ok", "error", "unknown", "EPERM", "EBUSY", "EACCES", "EINVAL")
_N, _B = Form.NUMBER, Form.BYTES
# fmt: off
KEYS: tuple[Key, ...] = (
    Key("op", ("op",), Form.WORD, "operation", "op:mmap,write",
        words=_words(Op), enum=Op),
    Key("kind", ("kind",), Form.WORD, "kind of memory file", "kind:memfd",
        words=_words(Kind), enum=Kind),
    Key("name", ("name",), Form.TEXT, "name of the file, with or without 'memfd:'", "name:~ram"),
    Key("comm", ("comm",), Form.TEXT, "command name of the process", "comm:qemu*"),
    Key("seals", ("seals",), Form.SEALS, "seals of the file at that moment", "seals:+WRITE",
        words=_SEALS),
    Key("seals_after", ("seals_after",), Form.SEALS, "seals at return", "seals_after:=sgw",
        words=_SEALS),
    Key("ret", ("answer", "flags"), Form.ANSWER, "what the kernel answered", "ret:EPERM",
        aliases=("answer", "errno"), words=_ANSWERS),
    Key("verdict", ("verdict",), Form.WORD, "was the answer right", "verdict:blocked,breach",
        words=_words(Verdict), enum=Verdict, judged=True),
    Key("expected", ("expected",), Form.WORD, "what the rules expect", "expected:EPERM",
        words=("ok", "partial", "unknown", *ERRNOS), judged=True),
    Key("reason", ("reason",), Form.LABEL, "the seal behind it, or why not", "reason:WRITE",
        judged=True),
    Key("rule", ("rule",), Form.LABEL, "the rule that decided", "rule:*grow*",
        words=tuple(rule.name for rule in RULES), judged=True),
    Key("hole", ("hole",), Form.LABEL, "known kernel hole behind a breach", "hole:any",
        words=tuple(hole.name for hole in HOLES), judged=True),
    Key("severity", ("severity",), _N, "0 nothing to see … 3 breach", "severity:>=2",
        judged=True),
    Key("pid", ("pid",), _N, "process", "pid:100..200"),
    Key("tid", ("tid",), _N, "thread", "tid:123"),
    Key("uid", ("uid",), _N, "user", "uid:0"),
    Key("cgroup", ("cgroup",), _N, "id of the cgroup", "cgroup:4711"),
    Key("unit", ("unit",), Form.TEXT, "systemd unit of the process", "unit:nginx.service"),
    Key("container", ("container",), Form.TEXT, "container's id or name", "container:9ec39b91*"),
    Key("pod", ("pod",), Form.TEXT, "uid of the Kubernetes pod", "pod:214f3ba8*"),
    Key("vm", ("vm_name", "vm_claimed"), Form.TEXT, "virtual machine: its cgroup's, or a claim",
        "vm:build-*"),
    Key("exe", ("exe",), Form.TEXT, "path of the executable", "exe:*/qemu-system-*"),
    Key("fd", ("fd",), _N, "file descriptor", "fd:3", named={"unknown": -1}),
    Key("object", ("dev", "ino", "gen"), Form.OBJECT, "one memory file", "object:1:1040"),
    Key("dev", ("dev",), _N, "device of the file", "dev:1"),
    Key("ino", ("ino",), _N, "inode of the file", "ino:1040"),
    Key("gen", ("gen",), _N, "generation of the inode", "gen:77"),
    Key("size", ("size",), _B, "size of the file", "size:>1M"),
    Key("size_after", ("size_after",), _B, "size at return", "size_after:0"),
    Key("offset", ("offset",), _B, "where in the file", "offset:4K..8K"),
    Key("length", ("length",), _B, "bytes requested; truncate: new size", "length:>=2M"),
    Key("arg", ("arg",), _N, "argument as the recording has it", "arg:0x8"),
    Key("writable", ("writable",), _N, "shared writable mappings then", "writable:>0"),
    Key("duration", ("duration_ns",), Form.DURATION, "how long the call took", "duration:>1ms",
        aliases=("duration_ns",)),
    Key("cpu", ("cpu",), _N, "processor", "cpu:0,1"),
    Key("seq", ("seq",), _N, "number of the record on its processor", "seq:10..20"),
    Key("hook", ("hook",), Form.WORD, "hook that reported it", "hook:write",
        words=_words(Hook), enum=Hook),
    Key("flag", ("flags",), Form.FLAGS, "what is known about the evidence", "flag:raced",
        aliases=("flags",), words=tuple(FLAG_WORDS)),
)
# fmt: on

BARE = ("name", "comm")
"""The columns that a word without a key is looked for in."""

_BY_NAME = {name: key for key in KEYS for name in (key.name, *key.aliases)}


def find(name: str) -> Key | None:
    """The key or alias ``name``, in any case."""
    return _BY_NAME.get(name.lower())


def _known(name: str) -> Key:
    key = find(name)
    if key is None:
        raise ValueError(f"no key {name!r} in filters")
    return key


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
    pattern = grammar.pattern(part, bare=True)
    regex = pattern.regex()
    return Alternative(pattern.written(bare=True), tuple((Like(c, regex, True),) for c in BARE))


def _text(key: Key, part: Part) -> Alternative:
    pattern = grammar.pattern(part)
    if key.name == "comm":
        problem = grammar.comm_problem([text for text, wild in pattern.pieces if not wild])
        if problem:
            raise part.error(problem)
    prefix = _PREFIX if key.name == "name" and not pattern.contains else ""
    regex = prefix + pattern.regex()
    likes = (Like(column, regex, ignore_case=pattern.contains) for column in key.columns)
    return Alternative(pattern.written(), tuple((like,) for like in likes))


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
    pattern = grammar.pattern(part)
    written = pattern.written()
    literal = pattern.literal
    if literal is not None:
        known = {word.lower() for word in key.words}
        if known and literal.lower() not in known and not part.quoted:
            raise part.unknown(key.name, literal, key.words)
        written = label(literal, key.words)
    regex = rf"(?:.*\|)?{pattern.regex()}(?:\|.*)?"
    return Alternative(written, ((Like(key.columns[0], regex, ignore_case=True),),))


def _word(key: Key, part: Part) -> Alternative:
    nothing = _nothing(key, part) if key.judged else None
    if nothing is not None:
        return nothing
    pattern = grammar.pattern(part).lower()
    literal = pattern.literal
    if literal is None:
        regex = pattern.regex()
        if not any(re.fullmatch(regex, word, re.I | re.S) for word in key.words):
            raise part.error(f"no {key.name} is like {part.plain}")
        return Alternative(pattern.written(), ((Like(key.columns[0], regex, True),),))
    known = {word.lower(): word for word in key.words}
    # Numbers that have no word yet are stored as op_77 (tracer/recording/tables.py).
    if re.fullmatch(f"{key.name}_[0-9]{{1,5}}", literal):
        known[literal] = literal
    word = known.get(literal)
    if word is None:
        raise part.unknown(key.name, part.plain, key.words)
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
        number = errno_number(word.upper())
        if number is None:
            near = nearest(word, [*ERRNOS, "ok", "error", "unknown"])
            known = ["ok", "error", "unknown", "an errno such as EPERM", "a number"]
            raise part.error(f"there is no answer {word!r}; {hint(near, known)}", near)
        text, ranges = errno_name(-number) or word.upper(), ((-number, -number),)
    else:
        text, ranges = Numbers(key.name, key.example, BYTES).ranges(part)
    return Alternative(text, ((In(column, ranges), Bits(flags, missing, 0)),))


def _flag(key: Key, part: Part) -> Alternative:
    word = part.plain.lower().replace("_", "-")
    word = _FLAG_ALIASES.get(word, word)
    if word not in FLAG_WORDS:
        raise part.unknown("flag", part.plain, FLAG_WORDS)
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


_READ: dict[Form, Callable[[Key, Part], Alternative]] = {
    Form.WORD: _word,
    Form.TEXT: _text,
    Form.LABEL: _label,
    Form.NUMBER: _number,
    Form.BYTES: _number,
    Form.DURATION: _number,
    Form.SEALS: lambda key, part: grammar.alternative(part, key.columns[0]),
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
        grammar.check_signs(parts)
    return tuple(_READ[key.form](key, part) for part in parts)


def _is_null(value: object) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # NaN
    except (TypeError, ValueError):  # pandas' NA has no truth value
        return type(value).__name__ == "NAType"


def _written_number(value: object) -> int:
    """The number in a cell: Python's, numpy's, or a float that is whole."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{value!r} is not a number") from error
    if number != value:
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)


def _flags(bits: int) -> list[str]:
    found = [word for word, bit in FLAG_WORDS.items() if bits & bit]
    if not found or bits & ~sum(FLAG_WORDS.values()):
        raise ValueError(f"flags {bits:#x} have no words")
    return found


def _value(key: Key, value: object, bit5: Bit5) -> str:
    if isinstance(value, str):
        if key.form is Form.LABEL:
            return label(value, key.words) if value else "none"
        if key.form is Form.SEALS and len(value) == len(LETTERS) and "-" in value[1:]:
            return f"={value}"  # as tracer.words.text shows them
        return quote(value)
    if key.form is Form.OBJECT and isinstance(value, tuple):
        return ":".join(str(_written_number(one)) for one in value)
    if key.form in (Form.TEXT, Form.LABEL):
        raise ValueError(f"{key.name}: {value!r} is not a text")
    number = _written_number(value)
    if key.form is Form.WORD:
        if key.enum is None:
            raise ValueError(f"{key.name}: {value!r} is not a word")
        known = {member.value: member.name.lower() for member in key.enum}
        return known.get(number, f"{key.name}_{number}")
    if key.form is Form.SEALS:
        seals = f"={seal_names(number, bit5)}" if number else "none"
        return "unknown" if number == SEALS_UNKNOWN else seals
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

    See :meth:`tracer.filter.query.Query.plus`. ValueError: there is no such word.
    """
    sign = "!" if negated else ""
    if name is None:
        return sign + quote(str(value), bare=True)
    key = _known(name)
    if _is_null(value):
        return _of_null(key, negated)
    if key.form is Form.FLAGS and not isinstance(value, str | Collection):
        words = _flags(_written_number(value))
        if negated and len(words) > 1:
            raise ValueError("not these flags together: that is no single word")
        return " ".join(f"{sign}{key.name}:{word}" for word in words)
    several = isinstance(value, Collection) and not isinstance(value, str)
    if several and not (key.form is Form.OBJECT and isinstance(value, tuple)):
        return f"{sign}{key.name}:{','.join(_value(key, one, bit5) for one in value)}"  # type: ignore[attr-defined]
    return f"{sign}{key.name}:{_value(key, value, bit5)}"


# ---- the query ----------------------------------------------------------------------------------

_COMPARED = re.compile(r"(!?)([A-Za-z_]+)(>=|<=|!=|==|>|<|=|~)(.*)", re.S)
"""``size>1M``, as other programs have it."""


@dataclass(frozen=True)
class Query:
    """Words that are all required; without any it matches every row and is false."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        """Canonical text: ``parse(str(query)) == query``."""
        return " ".join(map(str, self.terms))

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __and__(self, other: "Query") -> "Query":
        """What matches both; a word that both have is there once."""
        return Query(tuple(dict.fromkeys((*self.terms, *other.terms))))

    def columns(self) -> frozenset[str]:
        """The columns that :meth:`mask` reads."""
        return frozenset(column for term in self.terms for column in term.columns())

    def mask(self, columns: Any) -> "npt.NDArray[np.bool_]":
        """Which rows match.

        :param columns: a pandas DataFrame, an Arrow table, or a mapping from names to numpy arrays,
            Series, Arrow columns or :class:`tracer.filter.mask.Coded`. Texts may be
            dictionary-encoded or categorical, and op, kind, hook and verdict also the numbers of
            their enums.
        :return: one truth value a row.
        :raises QueryError: a column is missing.
        """
        from tracer.filter.mask import Columns, mask

        source = Columns(columns)
        self.require(source.names)
        return mask(self.terms, source)

    def require(self, available: Collection[str]) -> None:
        """Checks that there are the columns that the words need.

        :param available: their names.
        :raises QueryError: for the first word that needs another one.
        """
        text = str(self)
        start = 0
        for term in self.terms:
            end = start + len(str(term))
            missing = sorted(term.columns() - set(available))
            if missing:
                raise QueryError(_missing(term.key, missing), text, start, end)
            start = end + 1

    def without(self, names: Iterable[str | None]) -> "Query":
        """Without the words of these keys (aliases too; None: the bare words)."""
        gone = {None if name is None else _known(name).name for name in names}
        return Query(tuple(term for term in self.terms if term.key not in gone))

    def plus(
        self,
        key: str | None,
        value: object,
        *,
        negated: bool = False,
        bit5: Bit5 = UNKNOWN,
    ) -> "Query":
        """With one more word, for the rows that have a value.

        :param key: its name or an alias; None: a bare word.
        :param value: a cell as it is stored; a list or a set is "one of these"; null (None, NaN)
            means what nothing matches.
        :param negated: for all other rows.
        :param bit5: what the recorded kernel calls seal 0x20.
        :raises ValueError: no such key, or a value that this key cannot have.
        """
        return self & parse(written(key, value, negated, bit5))


def _missing(name: str | None, columns: list[str]) -> str:
    key = None if name is None else find(name)
    if key is not None and key.judged:
        return (
            f"{key.name} cannot be used here: only judged decisions have it, which 'sealsnoop "
            "script', 'report', 'trace' and 'live' show"
        )
    what = "a word without a key" if name is None else name
    return f"{what} cannot be used here: there is no column {', '.join(columns)}"


def _bare(word: Word) -> Term:
    whole = word.whole.text[word.whole.start : word.whole.end]
    if whole.lower() in RESERVED or whole in ("&&", "||", "&", "|"):
        raise word.whole.error(
            f"{whole} is not needed: all words must hold, a comma between values means 'or', "
            f"! before a word 'not'; to look for the text write \"{whole}\""
        )
    if whole.startswith("-"):
        raise word.whole.error(f'"not" is written !{whole[1:]}; for the text write "{whole}"')
    found = _COMPARED.fullmatch(whole)
    key = find(found[2]) if found else None
    if found and key is not None:
        sign = "" if found[3] in ("=", "==", "!=") else found[3]
        negated = bool(found[1]) != (found[3] == "!=")
        near = f"{'!' if negated else ''}{key.name}:{sign}{found[4]}"
        raise word.whole.error(f"behind a key comes a colon: {near}", near)
    for part in word.parts:
        if not part.chars:
            raise part.error('nothing stands beside a comma; to look for a comma write ","')
    return Term(None, tuple(bare(part) for part in word.parts), word.negated)


def _keyed(word: Word, name: Part) -> Term:
    key = find(name.plain)
    if key is not None:
        return Term(key.name, alternatives(key, word.parts), word.negated)
    if name.plain.startswith("-") and find(name.plain[1:]):
        text = word.whole.text[word.whole.start + 1 : word.whole.end]
        raise word.whole.error(f'"not" is written !{text}', f"!{text}")
    near = nearest(name.plain.lstrip("-!("), _BY_NAME)
    known = hint(near, [key.name for key in KEYS], len(KEYS))
    raise name.error(
        f"there is no key {name.plain!r}; {known} (to look for a text with a colon, quote it)", near
    )


def parse(text: str) -> Query:
    """Reads a filter.

    :param text: words as in ``sealsnoop report --help``, for example ``op:mmap verdict:breach``.
    :return: true where it has any word; ``.mask`` takes rows.
    :raises QueryError: what it does not understand, with the place; a UserError.
    """
    terms = (_bare(one) if one.key is None else _keyed(one, one.key) for one in words(text))
    return Query(tuple(dict.fromkeys(terms)))
