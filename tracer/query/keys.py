"""The table of what a filter can ask for: help text, errors and completion all come from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from tracer.model.errnos import ERRNOS
from tracer.model.holes import HOLES
from tracer.model.rules import RULES
from tracer.model.seals import BY_NAME
from tracer.model.verdicts import Verdict
from tracer.model.words import Flag, Hook, Kind, Op


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
    """The values that WORD, FLAGS and LABEL keys know; of others those that are asked for most."""
    enum: type[IntEnum] | None = None
    """What the numbers mean in a column that has numbers instead of words."""
    judged: bool = False
    """Only judged decisions have it."""
    named: Mapping[str, int] = field(default_factory=dict)
    """Numbers that have a word of their own."""


FLAG_WORDS: Mapping[str, Flag] = {
    "raced": Flag.RACED_SEALS,
    "raced-size": Flag.RACED_SIZE,
    "no-entry": Flag.ENTRY_MISSING,
    "no-return": Flag.RETURN_MISSING,
    "other-mm": Flag.OTHER_MM,
    "kernel": Flag.KERNEL_TASK,
    "compat": Flag.COMPAT,
    "final": Flag.FINAL,
    "append-only": Flag.APPEND_ONLY,
    "immutable": Flag.IMMUTABLE,
    "check-reached": Flag.CHECK_REACHED,
    "file-mmap-reached": Flag.FILE_MMAP_REACHED,
}
"""What the text form shows of a row (tracer/text/lines.py), then what it has no room for."""


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
    Key("fd", ("fd",), _N, "file descriptor", "fd:3", named={"unknown": -1}),
    Key("object", ("dev", "ino", "gen"), Form.OBJECT, "one memory file", "object:1:1040"),
    Key("dev", ("dev",), _N, "device of the file", "dev:1"),
    Key("ino", ("ino",), _N, "inode of the file", "ino:1040"),
    Key("gen", ("gen",), _N, "generation of the inode", "gen:77"),
    Key("size", ("size",), _B, "size of the file", "size:>1M"),
    Key("size_after", ("size_after",), _B, "size at return", "size_after:0"),
    Key("offset", ("offset",), _B, "where in the file", "offset:4K..8K"),
    Key("length", ("length",), _B, "bytes asked for; truncate: new size", "length:>=2M"),
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


def names() -> tuple[str, ...]:
    """All keys, with their aliases."""
    return tuple(_BY_NAME)


def find(name: str) -> Key | None:
    """The key or alias ``name``, in any case."""
    return _BY_NAME.get(name.lower())
