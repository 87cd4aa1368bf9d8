"""A copy of a recording to be given away: names, paths, command lines and hosts are pseudonyms.

The same text is the same pseudonym everywhere in the copy (``name-3``, ``comm-1``), numbered as the
texts first come, so that it tells nothing of the text and nobody can try guesses. Numbers stay:
processes, users, cgroups, inodes, sizes, times. Of a cgroup's path the words that everybody has
(``system.slice``, ``docker-``) stay, too, so that who is a container still is one.

Each column and each key that holds text has a decision here (:data:`COLUMNS`, :data:`KEYS`); one
without cannot be copied (:func:`undecided`), nor can what a later version has added.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from tracer.recording.chain import END, MANIFEST, TAIL_FOLDER, ChainWriter, Link, info
from tracer.recording.errors import StoreError, from_os
from tracer.recording.folder import Folder
from tracer.recording.format import TABLES, WORD
from tracer.recording.manifest import End, Manifest
from tracer.recording.part import Part
from tracer.recording.reader import Recording, Snapshot, tail_tables
from tracer.recording.replace import new_folder
from tracer.recording.tables import binaries, empty, texts, values, words_of
from tracer.recording.tail import Counts, count_by_cpu
from tracer.recording.verify import check

Hide = Callable[[str], str]
HIDDEN = "(redacted)"
"""What stands for a sentence."""
_PREFIX = "memfd:"
_OF_KERNEL = frozenset({"", "[kvm-gmem]", "[secretmem]", "secretmem", "dev/zero"})
"""Names that the kernel gives."""


class Pseudonyms:
    """What stands for which text in one copy."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}

    def number(self, kind: str, text: str) -> int:
        """The number of a text among those of its kind, from 1."""
        known = self._known.setdefault(kind, {})
        return known.setdefault(text, len(known) + 1)

    def count(self, kind: str) -> int:
        """How many texts of a kind there were."""
        return len(self._known.get(kind, {}))

    def of(self, kind: str) -> Hide:
        """Gives texts of a kind their pseudonyms; an empty one stays empty."""
        return lambda text: f"{kind}-{self.number(kind, text)}" if text else ""

    def name(self, text: str) -> str:
        """Of a memory file; the prefix of a memfd's is the kernel's, and stays."""
        prefix = _PREFIX if text.startswith(_PREFIX) else ""
        rest = text.removeprefix(prefix)
        return text if rest in _OF_KERNEL else f"{prefix}{self.of('name')(rest)}"

    def folder(self, name: bytes) -> bytes:
        """Of a cgroup: words of :data:`_STRUCTURE` stay, ids keep their form."""
        before = ""

        def hidden(found: re.Match[bytes]) -> bytes:
            nonlocal before
            word, last = found[0].decode("latin-1"), before
            if found.lastgroup == "between":
                return found[0]
            before = word
            if word in _STRUCTURE or (word.isdecimal() and last in _NUMBERED):
                return found[0]
            if found.lastgroup == "uuid":
                number = self.number("id", word.replace("_", "-"))
                return f"{number:08x}-0000-0000-0000-{0:012x}".replace("-", word[8]).encode()
            if found.lastgroup == "digits":
                return f"{self.number('id', word):0{len(word)}x}".encode()
            return f"x{self.number('word', word)}".encode()

        made = _PIECES.sub(hidden, name)
        return made if len(made) <= _ROOM else f"x{self.number('word', made.hex())}".encode()


_STRUCTURE = frozenset(
    {
        "slice", "scope", "service", "socket", "mount", "swap", "system", "user", "machine",
        "session", "app", "init", "background", "kubepods", "besteffort", "burstable", "guaranteed",
        "pod", "docker", "libpod", "libpod_parent", "cri", "containerd", "crio", "nerdctl",
        "buildkit", "payload", "ns", "conmon", "qemu", "lxc", "ch", "xen", "libvirt", "emulator",
        "vcpu", "systemd", "nspawn", "vmspawn", "monitor", "default", "moby", "k8s", "io",
    }
)  # fmt: skip
"""Words of cgroups' names that tell what something is, and not whose."""
_NUMBERED = frozenset({"user", "session", "qemu", "lxc", "ch", "xen"})
"""Words behind which there is the number of a user, of a session, or of a machine since boot."""
_PIECES = re.compile(
    rb"(?P<uuid>[0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12})"
    rb"|(?P<digits>[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])"
    rb"|pod(?=[0-9a-f]{8})|(?P<between>\\x2d|[-.:@])"
    rb"|(?P<word>(?:(?!\\x2d)[^-.:@])+)"
)
_ROOM = 144
"""Bytes of a cgroup's name that one piece has room for."""


# ---- decisions: columns --------------------------------------------------------------------------

OF_OBJECT = "name of an object"
OF_CGROUP = "name of a cgroup"
PATH = "path"
HIDE = "hide"
SYMBOL = "function"
"""Of a frame, in the table ``stacks``."""
_KERNELS = frozenset({"kernel", "vdso"})
_PLAIN = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{0,80}")
COLUMNS: dict[tuple[str, str], str] = {
    ("events", "comm"): "comm",
    ("mappings", "comm"): "comm",
    ("objects", "comm"): "comm",
    ("objects", "name"): OF_OBJECT,
    ("names", "text"): OF_OBJECT,
    ("cgroups", "text"): OF_CGROUP,
    ("modules", "text"): PATH,
    ("modules", "build_id"): HIDE,  # whoever has the program knows its name by that
    ("stacks", SYMBOL): "symbol",
    ("tasks", "exe"): PATH,
    ("tasks", "cmdline"): "cmdline",
    ("tasks", "build_id"): HIDE,
}
"""What each column of texts is: a kind of pseudonyms, or what is put together from pieces;
columns of words (`op`, `kind`, …) have known ones, and no others."""
PIECES = {"cgroups": "cgroup", "modules": "module"}
"""Tables with texts in pieces, and the column that says which pieces belong together."""
_TASK = ("pid", "start_ns", "exec_id", "of_exe")
"""Likewise of ``tasks``, which has two texts."""


def _is_text(kind: pa.DataType) -> bool:
    """Whether it may hold text: anything but numbers, truth values and known words."""
    number = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
    return not number and kind != WORD


# ---- decisions: documents ------------------------------------------------------------------------

KEEP = "keep"
KEYS: dict[str, str] = {
    **dict.fromkeys(
        (
            "format", "kernel.release", "kernel.version", "kernel.machine", "clock_source",
            "memfd_noexec", "tool.sealsnoop", "tool.python", "btf_sha256", "source", "method",
            "blind_spots[]", "redacted_from", "hooks[].family", "hooks[].program", "hooks[].hook",
            "hooks[].ops[]", "hooks[].symbol", "hooks[].method", "hooks[].reason", "hooks[].unseen",
            "hooks[].module", "hooks[].prototype", "hooks[].defines[][0]", "self_test.open[]",
            "self_test.bit_0x20", "self_test.holes[]", "self_test.unexplained[].op",
            "self_test.unexplained[].rule", "self_test.variants{}", "self_test.variants{key}",
            "self_test.verdicts{key}", "self_test.hooks{key}", "self_test.lost{key}",
            "reason", "asked_reason", "final_seq{key}", "lost{key}", "stacks",
        ),
        KEEP,
    ),
    "kernel.command_line": "sentence",
    "boot_id": "boot",
    "host": "host",
    "command_line[]": "word",
    "command[]": "word",
    "filters.name": "name",
    "filters.files[]": "path",
    "filters.actors": "sentence",
    "self_test.failed": "sentence",
    "self_test.hooks_note": "sentence",
    "error": "sentence",
    "baseline.start.problems[]": "sentence",
    "baseline.start.machines_problem": "sentence",
    "baseline.final.problems[]": "sentence",
    "baseline.final.machines_problem": "sentence",
}  # fmt: skip
"""What each text of manifest.json and end.json is, by its path there."""


def leaves(hint: Any, path: str = "") -> Iterator[str]:
    """The paths of all texts that a document of this type may have."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        yield from leaves(inner[0], path)
    elif hint is str:
        yield path
    elif is_dataclass(hint):
        for name, one in _keys(hint):
            yield from leaves(one, f"{path}.{name}".lstrip("."))
    elif origin is tuple and inner[-1] is ...:
        yield from leaves(inner[0], f"{path}[]")
    elif origin is tuple:
        for place, one in enumerate(inner):
            yield from leaves(one, f"{path}[{place}]")
    elif origin is not None:
        yield from (f"{path}{{key}}", *leaves(inner[1], f"{path}{{}}"))


def _keys(of: Any) -> list[tuple[str, Any]]:
    hints = get_type_hints(of)
    return [(one.name, hints[one.name]) for one in fields(of) if one.metadata]


def undecided() -> list[str]:
    """Columns and keys of text that nothing has been decided about; none."""
    found = [
        f"{table}.{field.name}"
        for table, schema in TABLES.items()
        for field in schema
        if _is_text(field.type) and (table, field.name) not in COLUMNS
    ]
    return found + [path for of in (Manifest, End) for path in leaves(of) if path not in KEYS]


class _Documents:
    """manifest.json and end.json in a copy."""

    def __init__(self, names: Pseudonyms) -> None:
        self._hide: dict[str, Hide] = {
            KEEP: lambda text: text,
            "sentence": lambda text: HIDDEN if text else "",
            "boot": lambda text: str(uuid.UUID(hashlib.sha256(text.encode()).hexdigest()[:32])),
            "host": names.of("host"),
            "word": names.of("word"),
            "path": names.of("path"),
            "name": names.of("name"),
        }

    def of(self, hint: Any, value: Any, path: str = "") -> Any:
        """``value`` of a document of this type; keys that the type has not are left out."""
        origin, inner = get_origin(hint), get_args(hint)
        if value is None or origin is UnionType:
            return None if value is None else self.of(inner[0], value, path)
        if hint is str:
            return self._hide[KEYS[path]](value)
        if is_dataclass(hint):
            return {
                name: self.of(one, value[name], f"{path}.{name}".lstrip("."))
                for name, one in _keys(hint)
                if name in value
            }
        if origin is tuple and inner[-1] is ...:
            return [self.of(inner[0], one, f"{path}[]") for one in value]
        if origin is tuple:
            both = enumerate(zip(inner, value, strict=True))
            return [self.of(kind, one, f"{path}[{place}]") for place, (kind, one) in both]
        if origin is not None:
            key = self._hide[KEYS[f"{path}{{key}}"]]
            return {
                key(label): self.of(inner[1], one, f"{path}{{}}") for label, one in value.items()
            }
        return value


# ---- tables --------------------------------------------------------------------------------------


class _Copy:
    """Tables of one recording as they are in its copy, in the order in which they stand there."""

    def __init__(self, recording: Recording, names: Pseudonyms) -> None:
        self._names = names
        [objects] = recording.tables("objects")
        pieces = pa.concat_tables([empty(TABLES["names"]), *recording.tables("names")])
        whole = [None if name is None else names.name(name) for name in values(objects, "name")]
        complete = values(objects, "name_complete")
        lengths = [
            len((name or "").encode()) + (not done)
            for name, done in zip(whole, complete, strict=True)
        ]
        self._objects = {"name": whole, "name_complete": complete, "name_len": lengths}
        self._texts = list(_pieces(objects, pieces, whole))
        self._wholes = {
            table: self._put_together(recording, table, key)
            for table, key in PIECES.items()
            if table in TABLES
        }
        self._of_tasks = self._task_texts(recording)
        self._given = {"objects": 0, "names": 0}

    def _put_together(self, recording: Recording, name: str, key: str) -> dict[int, bytes]:
        """The new text of each thing that has one in pieces; it goes into the first piece."""
        parts: dict[int, dict[int, bytes]] = {}
        for table in recording.tables(name):
            rows = zip(*(values(table, one) for one in (key, "part", "text")), strict=True)
            for number, part, text in rows:
                parts.setdefault(number, {})[part] = text
        hide = self._names.folder if COLUMNS[name, "text"] == OF_CGROUP else self._path
        return {
            number: hide(b"".join(text for _, text in sorted(known.items())))
            for number, known in parts.items()
        }

    def _task_texts(self, recording: Recording) -> dict[tuple[Any, ...], bytes]:
        """The new executable and command line of each actor, by it and by which of both it is."""
        parts: dict[tuple[Any, ...], dict[int, bytes]] = {}
        for table in recording.tables("tasks"):
            rows = (values(table, one) for one in (*_TASK, "part", "exe", "cmdline"))
            for *which, part, exe, cmdline in zip(*rows, strict=True):
                parts.setdefault(tuple(which), {})[part] = exe or cmdline
        return {
            which: self._path(text) if which[-1] else self._command(text)
            for which, known in parts.items()
            for text in [b"".join(text for _, text in sorted(known.items()))]
        }

    def _command(self, text: bytes) -> bytes:
        return self._names.of("cmdline")(text.decode("latin-1")).encode()

    def _path(self, path: bytes) -> bytes:
        return self._names.of(PATH)(path.decode("latin-1")).encode()

    def of(self, name: str, table: pa.Table) -> pa.Table:
        """The next rows of a table."""
        for field in table.schema:
            kind = COLUMNS.get((name, field.name))
            if field.type == WORD:
                table = _replaced(table, field.name, _known_words(field.name))
            elif kind == HIDE:
                hidden = [None if one is None else "" for one in values(table, field.name)]
                table = _put(table, **{field.name: texts(hidden)})
            elif kind is not None and pa.types.is_dictionary(field.type):
                table = _replaced(table, field.name, self._names.of(kind))
        if name == "objects":
            made = self._next(name, table, self._objects)
            length = pa.array(made["name_len"], pa.uint32())
            complete = pa.array(made["name_complete"], pa.bool_())
            table = _put(table, name=texts(made["name"]), name_len=length, name_complete=complete)
        elif name == "names":
            made = self._next(name, table, {"text": self._texts})
            table = _put(table, text=binaries(made["text"]))
        elif name in PIECES:
            both = zip(values(table, PIECES[name]), values(table, "part"), strict=True)
            whole = self._wholes[name]
            pieces = [whole[number] if part == 0 else b"" for number, part in both]
            table = _put(table, text=binaries(pieces))
        elif name == "tasks":
            table = self._tasks(table)
        elif name == "stacks" and SYMBOL in table.column_names:
            both = zip(values(table, "what"), values(table, SYMBOL), strict=True)
            table = _put(table, **{SYMBOL: binaries([self._symbol(*one) for one in both])})
        return table

    def _symbol(self, what: str, name: bytes) -> bytes:
        """Functions of the kernel itself have the same names everywhere; of its modules, and what
        a process says of its own code, may be anybody's."""
        if what in _KERNELS and _PLAIN.fullmatch(name):
            return name
        return self._names.of("symbol")(name.decode("latin-1")).encode()

    def _tasks(self, table: pa.Table) -> pa.Table:
        """All of a text goes into its first piece."""
        both: dict[str, list[bytes]] = {"exe": [], "cmdline": []}
        for *which, part in zip(*(values(table, one) for one in (*_TASK, "part")), strict=True):
            text = self._of_tasks[tuple(which)] if part == 0 else b""
            both["exe"].append(text if which[-1] else b"")
            both["cmdline"].append(b"" if which[-1] else text)
        return _put(table, **{name: binaries(texts) for name, texts in both.items()})

    def _next(self, name: str, table: pa.Table, lists: Mapping[str, list[Any]]) -> dict[str, Any]:
        start = self._given[name]
        self._given[name] = end = start + table.num_rows
        return {column: whole[start:end] for column, whole in lists.items()}


def _put(table: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), column)
    return table


def _replaced(table: pa.Table, name: str, hide: Hide) -> pa.Table:
    """A column with a dictionary, whose entries are hidden."""
    chunks = [
        pa.DictionaryArray.from_arrays(
            one.indices, texts(list(map(hide, one.dictionary.to_pylist())))
        )
        for one in table.column(name).chunks
    ]
    kind = table.schema.field(name)
    place = table.schema.get_field_index(name)
    return table.set_column(place, kind, pa.chunked_array(chunks, kind.type))


def _known_words(name: str) -> Hide:
    """Words of ours stay; who made a recording by hand may have written anything there."""
    of = words_of(name)
    later = re.compile(rf"{of.label}_\d{{1,5}}")
    return lambda word: word if word in of.known or later.fullmatch(word) else f"{of.label}_65535"


def _pieces(objects: pa.Table, pieces: pa.Table, whole: list[str | None]) -> Iterator[bytes]:
    """The new text of each piece of a name: the first has all of it, the others nothing.

    Pieces follow their object's announcement on the same CPU (tracer.recording.tables.joined).
    """
    key = ("cpu", "dev", "ino", "gen")
    announced: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, (*where, seq) in enumerate(
        zip(*(values(objects, name) for name in (*key, "seq")), strict=True)
    ):
        announced.setdefault(tuple(where), []).append((seq, row))
    columns = (values(pieces, name) for name in (*key, "seq", "part"))
    for *where, seq, part in zip(*columns, strict=True):
        mine = [row for at, row in announced.get(tuple(where), ()) if at < seq]
        name = whole[mine[-1]] if mine and part == 0 else None
        yield (name or "").encode()


# ---- the copy ------------------------------------------------------------------------------------


def redact(path: str, out: str, *, force: bool = False) -> Pseudonyms:
    """Makes the copy ``out`` of the recording ``path``, with a chain of its own.

    A recording whose recorder was killed has no end in its copy either.

    :param force: replaces another recording at ``out``.
    :return: what was replaced.
    :raises StoreError: it cannot be read whole, it is still being written, or ``out`` is there.
    """
    if missing := undecided():
        raise StoreError(f"nobody has decided what of {', '.join(missing)} may be given away")
    with Recording.open(path) as recording:
        found = check(recording)
        if found.alive:
            raise StoreError(f"{path} is still being written: stop its recorder first")
        if found.damage:
            raise StoreError(
                f"{path} is damaged, and only what is whole can be copied: {found.damage[0]}"
            )
        tables = {file.split("/")[0] for link in recording.chain.links for file in link.files}
        if later := tables - TABLES.keys():
            raise StoreError(f"{path} has a table that this version does not know: {min(later)}")
        names = Pseudonyms()
        copy, documents = _Copy(recording, names), _Documents(names)
        document = recording.manifest.document
        head = documents.of(Manifest, {**document, "redacted_from": found.digest})
        folder, held = new_folder(out, force=force)
        try:
            _write(recording, folder, copy, head, documents)
            if recording.end is None:
                os.utime(held, (0, 0))  # nobody is writing it
        except OSError as error:
            raise from_os(error, f"writing {out}") from error
        finally:
            os.close(held)
            folder.close()
    return names


def _write(
    recording: Recording, folder: Folder, copy: _Copy, head: Any, documents: _Documents
) -> None:
    text = json.dumps(head, indent=2).encode() + b"\n"
    folder.write_durably(MANIFEST, text)
    chain = ChainWriter(folder, text)
    try:
        for name in ("events", TAIL_FOLDER):
            folder.make_sub(name).close()
        with closing(recording.snapshot()) as shot:
            for link in shot.links:
                tables = [path.split("/")[0] for path in link.files]
                pieces = {name: recording.part(link, name) for name in tables}
                _segment(folder, chain, copy, pieces, link)
            _tails(folder, chain, copy, shot)
            if shot.end is not None:
                end = json.dumps(documents.of(End, shot.end.document), indent=2).encode() + b"\n"
                folder.write_durably(END, end)
                chain.end({END: info(end)})
    finally:
        chain.close()


def _tails(folder: Folder, chain: ChainWriter, copy: _Copy, shot: Snapshot) -> None:
    """What is in tails alone, as segments behind the others."""
    number = shot.next_number
    for found in tail_tables(shot):
        counts: Counts = {}
        for table in found.values():
            count_by_cpu(table.column("cpu").to_numpy(), table.column("seq").to_numpy(), counts)
        link = Link(number, {}, dict(sorted(counts.items())), 0, "")
        _segment(folder, chain, copy, {name: iter([one]) for name, one in found.items()}, link)
        number += 1


def _segment(
    folder: Folder,
    chain: ChainWriter,
    copy: _Copy,
    tables: Mapping[str, Iterator[pa.Table]],
    link: Link,
) -> None:
    """One segment; ``link`` tells its number and what the chain says of its CPUs."""
    files = {}
    for name, pieces in tables.items():
        with folder.make_sub(name) as where:
            part = Part(where, name, link.number)
            for table in pieces:
                part.add(copy.of(name, table))
            files[part.path] = part.finish()
            part.sink.publish()
            where.sync()
    folder.sync()
    chain.append(Link(link.number, files, link.cpus, link.unknown, ""))
