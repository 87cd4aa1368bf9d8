"""The JSON files of a recording: `manifest.json`, what was recorded, and `end.json`, why it ended.

The dataclasses here are the only description of these files, and their only parser. A field's name
is its key, its annotation the type that the file must have there, its :func:`key` what it means;
``docs/schema.md`` is made from them. A recording may come from somebody else: a value of another
type makes the recording damaged (:func:`json_object` has bounded depth and numbers before), a
key that is not there leaves the field's default, an unknown key is from a later version.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from tracer.escape import printable
from tracer.recording.errors import Damaged, DiskFull, StoreError
from tracer.recording.format import DOCUMENT_DEPTH
from tracer.words import UNKNOWN, Bit5, HookState, bit5_of

FORMAT = "sealsnoop recording"
"""``format`` in the manifest: what tells our folders from others."""


def key(meaning: str, default: Any = MISSING, *, null: bool = True) -> Any:
    """A field of a document; ``default`` is its value where the file has no such key.

    :param null: False where None only stands for a key that is not there.
    """
    metadata = {"meaning": meaning, "null": null}
    if default is MISSING:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Kernel:
    release: str = key("uname -r", "")
    version: str = key("uname -v", "")
    machine: str = key("uname -m", "")
    command_line: str | None = key("/proc/cmdline", None)


@dataclass(frozen=True)
class Tool:
    sealsnoop: str = key("version of the recorder", "")
    python: str = key("version of its Python", "")


@dataclass(frozen=True)
class Hook:
    """One family of the hook plan (`tracer.kernel.plan`)."""

    family: str = key("the hook family", "")
    program: str = key("the BPF program that serves it", "")
    hook: str = key("its word in the column `hook`", "")
    ops: tuple[str, ...] = key("the operations it reports", ())
    symbol: str | None = key("the kernel function, null: not attached", None)
    method: str | None = key("fexit or kprobe; without a symbol: waits for its module", None)
    reason: str = key("why so", "")
    unseen: str = key("what stays unseen without it", "")
    essential: bool = key("false: a kernel may have nothing there to be seen", True)
    module: str | None = key("the kernel module it is in", None)
    prototype: str | None = key("the function as BTF describes it", None)
    parameters: int = key("of its parameters, 0: unknown", 0)
    defines: tuple[tuple[str, int], ...] = key("argument places for the BPF source", ())
    at_entry: bool = key("a program runs at its entry", False)
    at_return: bool = key("and at its return", False)
    way: int = key("what the shared program is to do (bpf/access.h), 0: its own program", 0)
    absent: bool | None = key(
        "true: this kernel has no such function and need not", None, null=False
    )

    def state(self, came: Collection[str] = ()) -> HookState:
        """What became of it, for every view alike.

        :param came: words of the hooks whose modules were loaded while it was recorded.
        """
        symbol = self.symbol or (self.hook if self.hook in came else None)
        return HookState.of(self.method, symbol, self._has_nothing_there)

    @property
    def requested(self) -> bool:
        """Whether the recorder was to attach it (``--ops`` names operations)."""
        return self.reason != "not asked for"

    @property
    def _has_nothing_there(self) -> bool:
        """Whether this kernel lacks the very functions, so that nothing can happen in them.

        Recorders that do not say so give a reason; one with a dot in the name is about a struct's
        member, or a changed copy of the function, which would be there and unseen.
        """
        if self.absent is not None:
            return self.absent
        lacks = self.reason.startswith("this kernel has no ") and "." not in self.reason
        return lacks and not self.essential


@dataclass(frozen=True)
class Filters:
    pids: tuple[int, ...] = key("only these processes and their children", ())
    uids: tuple[int, ...] = key("only these users", ())
    cgroups: tuple[int, ...] = key("only tasks in these cgroups and below them", ())
    name: str = key("only files whose name starts with this prefix, escaped", "")
    seals: int = key("F_SEAL_* bits, only files that carry all of them", 0)
    denied: bool = key("only operations that failed", False)
    unsealable: bool | None = key(
        "also files that can never be sealed (tmpfs files, memfds without MFD_ALLOW_SEALING)",
        None,
        null=False,
    )
    follow_command: bool = key(
        "only the command and its children, and what others did to files that these had to do with",
        False,
    )
    files: tuple[str, ...] = key("only these files, whoever did something to them", ())
    no_cmdline: bool = key("command lines of who acts were not read", False)
    actors: str = key(
        "a filter of `unit`, `container`, `pod`, `vm` and `exe`: what others did is left out, but "
        "for creating and sealing files",
        "",
    )


@dataclass(frozen=True)
class Count:
    """Attempts of the self-test at one hook family."""

    expected: int = key("", 0)
    seen: int = key("", 0)
    extra: int = key("", 0)


@dataclass(frozen=True)
class Unexplained:
    """An answer that no documented variant gives; the file has more about it."""

    op: str = key("", "")
    rule: str = key("", "")


@dataclass(frozen=True)
class SelfTest:
    """What `tracer.selftest` found."""

    ran: bool = key("false: it failed", False)
    failed: str | None = key("why", None)
    thorough: bool = key("every seal set was tried", False)
    seconds: float = key("how long it took", 0)
    cases: int = key("of calls that it made", 0)
    variants: Mapping[str, str] = key("question → which documented variant this kernel is")
    open: tuple[str, ...] = key("questions that nothing here could settle", ())
    bit_0x20: str = key(
        "what seal 0x20 means: exec (F_SEAL_EXEC, and 0x8 is MFD_NOEXEC_SEAL), inaccessible "
        "(F_SEAL_INACCESSIBLE of the 2022 proposal, and 0x8 is MFD_INACCESSIBLE), none (this "
        "kernel refuses both bits), unknown (taken, but it does what no documented seal does)",
        "",
    )
    write_chunk: int | None = key("bytes that one write asks its seals about", None)
    holes: tuple[str, ...] = key("known holes that this kernel has", ())
    verdicts: Mapping[str, int] = key("verdict → number of calls")
    unexplained: tuple[Unexplained, ...] = key("answers that no documented variant gives", ())
    hooks: Mapping[str, Count] | None = key(
        "family → attempts expected, seen and extra; null: not confirmed", None
    )
    hooks_note: str | None = key("why hooks were not confirmed, or only in part", None)
    lost: Mapping[str, int] = key("cause → number of events lost while it ran, of any process")


@dataclass(frozen=True)
class Document:
    """A JSON file."""

    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The whole file as it was parsed, also what a later version has added."""

    NAME = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The checked content of the file.

        :param document: as :func:`json_object` gives it.
        :raises Damaged: a value has another type than ours.
        """
        return cls(document=document, **_values(cls, document, "", cls.NAME))


@dataclass(frozen=True)
class Manifest(Document):
    """What was recorded, by what and where."""

    NAME = "manifest.json"

    format: str = key('always "sealsnoop recording"', "")
    schema_version: int = key("see the change log", 0)
    record_size: int = key("bytes of one record in the tail", 0)
    kernel: Kernel = key("", Kernel())
    boot_id: str | None = key("/proc/sys/kernel/random/boot_id", None)
    host: str = key("the host's name", "")
    cpus: int = key("of CPUs", 0)
    clock_source: str | None = key("the kernel's clock source", None)
    page_size: int = key("bytes", 0)
    memfd_noexec: str | None = key("/proc/sys/vm/memfd_noexec", None)
    tool: Tool = key("", Tool())
    command_line: tuple[str, ...] = key("how the recorder was called", ())
    btf_sha256: str = key("SHA-256 of the kernel's BTF, which names the very build", "")
    hooks: tuple[Hook, ...] = key("", ())
    source: str = key("bpf or ftrace; not there: bpf", "bpf")
    method: str = key("the requested method: auto, fexit or kprobe", "")
    audit: bool = key("recorded with --audit", False)
    stacks: str = key("of which decisions user stacks were taken: the word of --stacks", "off")
    blind_spots: tuple[str, ...] = key("what no hook looks at (docs/limitations.md)", ())
    filters: Filters | None = key("", None, null=False)
    ring_bytes: int = key("bytes of the ring buffer", 0)
    command: tuple[str, ...] = key("the command that was run, empty: none", ())
    self_test: SelfTest | None = key("null: it was not requested", None)
    redacted_from: str = key(
        "only in a copy that `sealsnoop redact` made, where names are pseudonyms: the final digest "
        "of the recording that it was made of",
        "",
    )

    @property
    def host_name(self) -> str:
        """The host's name; empty where none was set, as in a guest: the kernel says ``(none)``."""
        return "" if self.host == "(none)" else self.host

    @property
    def tested(self) -> SelfTest:
        """The self-test, one that did not run where there is none."""
        return self.self_test or SelfTest()

    @property
    def bit5(self) -> Bit5:
        """What the recorded kernel calls seal 0x20, and flag 0x8 of memfd_create."""
        return bit5_of(self.tested.bit_0x20) if self.tested.ran else UNKNOWN


@dataclass(frozen=True)
class Look:
    """One reading of /proc; ``problems`` None: the file does not tell."""

    problems: tuple[str, ...] | None = key("", None, null=False)
    machines: int | None = key("", None, null=False)
    """How many virtual machines were read from KVM's own list; None: that was not read."""
    machines_problem: str = key("", "")
    """Why there may be others; empty: there are none."""


@dataclass(frozen=True)
class Baseline:
    start: Look | None = key("", Look())
    final: Look | None = key("", None)


@dataclass(frozen=True)
class End(Document):
    """Why the recorder stopped: there is none where it was killed."""

    NAME = "end.json"

    reason: str | None = key(
        "why the recorder stopped; `failed` or `disk full` when it could not store",
        None,
        null=False,
    )
    rows: int = key("of records that it accepted", 0)
    unsaved: int = key("of these that are in no file", 0)
    final_seq: Mapping[str, int] = key("CPU → how many sequence numbers it had given out")
    lost: Mapping[str, int] = key("cause → number of lost events")
    in_flight: int = key("of calls that had not returned at the stop", 0)
    baseline: Baseline = key(
        "`start` and, with --audit, `final` → what was missed in reading /proc (`problems`), or "
        "null: not read. With --audit `start` also has how many virtual machines were read from "
        "KVM's own list (`machines`) and why there may be others (`machines_problem`)",
        Baseline(),
    )
    stopped_early: bool = key(
        "only where it stopped at --max-size: what came after is not known", False
    )
    asked_reason: str = key("only after a failure: why it was to stop", "")
    error: str = key("only after a failure: what failed", "")


def end_document(
    extra: Mapping[str, Any],
    *,
    reason: str,
    error: StoreError | None,
    final_seq: Mapping[int, int],
    rows: int,
    unsaved: int,
) -> dict[str, Any]:
    """The content of ``end.json``; ``error`` takes the place of the reason that was requested."""
    end: dict[str, Any] = {
        **extra,
        "reason": reason,
        "rows": rows,  # accepted from the recorder
        "unsaved": unsaved,  # of these, neither in a segment nor in a tail
        "final_seq": {str(cpu): int(count) for cpu, count in sorted(final_seq.items())},
    }
    if error is not None:
        end |= {
            "reason": "disk full" if isinstance(error, DiskFull) else "failed",
            "asked_reason": reason,
            "error": str(error),
        }
    return end


CHAIN = {
    "segment": 'number, from 0; "begin" in the first line, "end" in the last',
    "files": "object; path → SHA-256, bytes and rows. begin: of manifest.json; a segment: of its "
    "parts; end: of end.json, and of tails that no segment came of",
    "cpus": "object; CPU → lowest and highest sequence number, and how many records",
    "unknown": "number; of records of a type unknown to the recorder; counted, not kept",
    "previous": "text; digest of the line before, empty in the first",
    "digest": "text; SHA-256 of this line without this key, without blanks",
}

CHANGES = {
    2: "the first that a release has: identities of processes, address spaces and virtual "
    "machines, room for stacks. What was recorded before is refused",
}
"""Schema version → what changed in it."""


# ---- types: an annotation in words, and a value compared with it ---------------------------------

_WORDS = {str: "text", int: "number", float: "decimal", bool: "true or false", NoneType: "null"}
_MANY = {str: "text", int: "numbers"}


def _read(hint: Any, value: Any, path: str, name: str) -> Any:
    """``value`` as a field of type ``hint`` has it. ValueError: it has another type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _read(inner[0], value, path, name)
    if hint in _WORDS:
        if type(value) is not hint and not (hint is float and type(value) is int):
            raise ValueError
        if hint is int and value < 0:
            raise ValueError
        return value
    if not isinstance(value, list if origin is tuple else dict):
        raise ValueError
    if isinstance(value, dict):
        if isinstance(hint, type):
            return hint(**_values(hint, value, f"{path}.", name))
        return {label: _read(inner[1], one, path, name) for label, one in value.items()}
    if inner[-1] is ...:
        return tuple(_read(inner[0], one, f"{path}[]", name) for one in value)
    if len(value) != len(inner):
        raise ValueError
    return tuple(_read(kind, one, path, name) for kind, one in zip(inner, value, strict=True))


def _words(hint: Any) -> str:
    """``list of text`` for ``tuple[str, ...]``."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return " or ".join(map(_words, inner))
    if is_dataclass(hint):
        return "object"
    if origin is tuple and inner[-1] is ...:
        return f"list of {_many(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_words, inner))}]"
    if origin is Mapping:
        return "object" if is_dataclass(inner[1]) else f"object of {_many(inner[1])}"
    return _WORDS[hint]


def _many(hint: Any) -> str:
    return "objects" if is_dataclass(hint) else _MANY.get(hint) or _words(hint)


@cache
def _keys(of: type) -> tuple[tuple[str, Any, str, Mapping[str, Any]], ...]:
    """Of a dataclass here: each key, its type, that in words, and what :func:`key` says."""
    hints = get_type_hints(of)
    found = []
    for one in fields(of):
        if one.metadata:
            hint = hints[one.name]
            words = _words(hint)
            if not one.metadata["null"]:
                words = words.removesuffix(" or null")
            found.append((one.name, hint, words, one.metadata))
    return tuple(found)


def _values(of: type, found: Mapping[str, Any], at: str, name: str) -> dict[str, Any]:
    """The fields of ``of`` that ``found`` has. Damaged."""
    values = {}
    for label, hint, words, about in _keys(of):
        if label not in found:
            continue
        value, path = found[label], f"{at}{label}"
        try:
            if value is None and not about["null"]:
                raise ValueError
            values[label] = _read(hint, value, path, name)
        except ValueError:
            raise Damaged(f"{name}: {path} is not {words}.") from None
    return values


def described(of: type, at: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a document with its type and meaning, for ``docs/schema.md``.

    ``a.b`` is key b of the object a, ``a[].b`` of each object in the list a.
    """
    for label, hint, words, about in _keys(of):
        if about["meaning"]:
            yield f"{at}{label}", f"{words}; {about['meaning']}"
        inner = hint
        if get_origin(inner) is UnionType:
            inner = get_args(inner)[0]
        if get_origin(inner) is tuple:
            inner = get_args(inner)[0]
            label += "[]"
        if is_dataclass(inner):
            yield from described(inner, f"{at}{label}.")  # type: ignore[arg-type]


# ---- the text of a file --------------------------------------------------------------------------

_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
_NAME_SHOWN = 80


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in the bytes of a file that may be somebody else's.

    :param name: of the file, for the message.
    :return: no deeper than ours are, of numbers that 64 bits hold, of texts that are UTF-8.
    :raises Damaged: it is no such object.
    """
    try:
        found = json.loads(data, parse_constant=_no_number)
        _check_plain(found)
    except RecursionError:
        raise Damaged(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise Damaged(f"{name} cannot be read: {_shown(str(error))}.") from None
    if not isinstance(found, dict):
        raise Damaged(f"{name} is no JSON object.")
    plain: dict[str, Any] = _in_utf8(found)
    return plain


def _in_utf8(value: Any) -> Any:
    """``value`` with texts that every reader can print: JSON can name half a character alone.

    A recorder does so too, of a command line that is no UTF-8.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_in_utf8(key): _in_utf8(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_in_utf8(one) for one in value]
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _check_plain(value: Any) -> None:
    """ValueError: nested too deeply, or a number that nothing counts."""
    level = [value]
    for _ in range(DOCUMENT_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, int | float) and not _LEAST <= one <= _MOST:  # nor is NaN
                raise ValueError("a number is too large")
        level = inner
    if level:
        raise ValueError("it is nested too deeply")


def _shown(text: str) -> str:
    return printable(text if len(text) <= _NAME_SHOWN else f"{text[:_NAME_SHOWN]}...").rstrip(".")
