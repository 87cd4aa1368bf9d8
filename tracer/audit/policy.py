"""Audit policies: which claims about memory files there are, and how a policy's TOML is read.

A *way* is a way in which a claim can be broken. :data:`WAYS` names the hook families that see each,
by kind of memory file, and :data:`CLAIMS` the ways of each claim: no other table says which hooks
must have been live for which claim. A family that no recorder has is named too. As long as no
recording plans it, coverage says "not hooked", and no claim that needs it passes.
"""

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from tracer.audit import forms
from tracer.audit.forms import Fail, Form, Key, Path, Schema, line_of, places
from tracer.errors import UserError
from tracer.escape import printable
from tracer.filter import grammar
from tracer.filter.query import Query
from tracer.filter.query import parse as parse_filter
from tracer.words import BY_NAME as SEALS
from tracer.words import ops

SHMEM = ("memfd", "tmpfs")
HUGETLB = ("hugetlb",)
GUEST = ("guest_memfd",)
SECRET = ("secretmem",)
KINDS = (*SHMEM, *HUGETLB, *GUEST, *SECRET)
BY_ADDRESS = ops(first_of_range=True)
UNSEEN = ops(ways=("reached",))
"""Ops after which somebody can reach an address space's memory in ways that are not seen."""


@dataclass(frozen=True)
class Way:
    """A way in; ``families``: kind to the families that must all be live."""

    text: str
    families: Mapping[str, tuple[str, ...]]
    call: bool = False
    """Seen at the return of a call: one that was in flight at the end may have been it."""


def _same(kinds: tuple[str, ...], *families: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(kinds, families)


WAYS: Mapping[str, Way] = {
    # The interval-tree hooks see mmap, merge, mremap, split (map) and fork (map_after).
    "map": Way("mappings that begin", _same(KINDS, "map", "map_after")),
    "mmap": Way("mmap decisions", _same(KINDS, "mmap"), call=True),
    "write": Way(
        "write(2) and what else changes the content by a descriptor",
        {
            **_same(SHMEM, "write", "shmem_setattr", "shmem_fallocate"),
            # hugetlbfs has no write function (fs/hugetlbfs/inode.c:hugetlbfs_file_operations).
            **_same(HUGETLB, "hugetlb_setattr", "hugetlb_fallocate"),
            **_same(GUEST, "gmem_setattr", "gmem_fallocate"),
            **_same(SECRET, "secretmem_setattr"),
        },
        call=True,
    ),
    "read": Way(
        "read(2) and splice",
        {
            # Since 6.5 shmem splices by a function of its own (mm/shmem.c:shmem_file_splice_read);
            # where that is absent, splicing asks the read function.
            **_same(SHMEM, "read", "splice"),
            **_same(HUGETLB, "hugetlb_read"),
            # guest_memfd and secretmem have no read function.
            **_same(GUEST),
            **_same(SECRET),
        },
        call=True,
    ),
    "fault": Way(
        "pages that the host touches",
        {**_same((*SHMEM, *HUGETLB)), **_same(GUEST, "gmem_fault"),
         **_same(SECRET, "secretmem_fault")},
        call=True,
    ),
    "remote": Way(
        "process_vm_readv, process_vm_writev, ptrace, /proc/PID/mem",
        _same(KINDS, "remote_access", "pin_remote"),
        call=True,
    ),
    "pin": Way(
        "long-term pins (io_uring, vfio, RDMA, udmabuf, iommufd)",
        _same(KINDS, "pin", "pin_fast", "pin_remote", "pin_file"),
        call=True,
    ),
    "userfaultfd": Way(
        "userfaultfd: registrations, and pages that are put there",
        _same(KINDS, "userfaultfd", "uffd_copy", "uffd_zero", "uffd_continue"),
        call=True,
    ),
    "reached": Way(
        "what opens an address space to others: ptrace, processes that share it, process_madvise, "
        "io_uring's buffers, dma-bufs of memfds",
        _same(KINDS, "ptrace", "ptrace_traceme", "ptrace_link", "share_mm", "vfork_end",
              "advise", "ring", "udmabuf"),
    ),
    "receive": Way(
        "descriptors that arrive, or are taken out of another process",
        _same(KINDS, "receive", "send", "copy", "message", "message_end", "open", "proc_link",
              "map_files", "jump", "pidfd_getfd", "ring_file", "msg_ring", "seccomp"),
    ),
    "sev_debug": Way(
        "debug commands of SEV, which read and write an encrypted guest",
        {**_same((*SHMEM, *HUGETLB, *GUEST), "convert", "sev_debug", "sev_debug_page",
                 "sev_debug_memory"),
         **_same(SECRET)},  # whose pages KVM gets none of (mm/gup.c:check_vma_flags)
        call=True,
    ),
    "seals": Way(
        "F_ADD_SEALS",
        {**_same((*SHMEM, *HUGETLB), "seals"), **_same(GUEST), **_same(SECRET)},
        call=True,
    ),
    "create": Way(
        "who created it",
        {
            **_same(("memfd", *HUGETLB), "created", "create"),
            "tmpfs": (),  # made by open(2): its creation is never seen
            **_same(GUEST, "created", "gmem_create"),
            **_same(SECRET, "created", "secretmem_create"),
        },
    ),
    "exec": Way(
        "execve and execveat",
        {
            **_same((*SHMEM, *HUGETLB), "exec", "exec_begin", "exec_check", "exec_open"),
            # Neither has a read function, by which the kernel would look at its first bytes.
            **_same(GUEST),
            **_same(SECRET),
        },
        call=True,
    ),
    "memslot": Way(
        "KVM memslots, and the end of a VM",
        {
            **_same((*SHMEM, *HUGETLB, *SECRET), "memslot", "vm_end"),
            **_same(GUEST, "memslot", "memslot_file", "vm_end"),
        },
    ),
    "convert": Way(
        "conversions of guest memory between private and shared",
        {
            **_same((*SHMEM, *HUGETLB, *SECRET)),
            **_same(GUEST, "convert", "convert_range", "convert_file", "vm_begin"),
        },
        call=True,
    ),
}  # fmt: skip

ACTOR_WAYS: Mapping[str, tuple[str, ...]] = {
    "vmm": ("memslot",),
    "creator": ("create",),
    "given-by-vmm": ("memslot", "receive"),
    "given-by-creator": ("create", "receive"),
}
"""Who is meant by a word in ``by`` is known through this way."""

RECOGNISED_BY: Mapping[str, str] = {"guest_memfd": "gmem_create", "secretmem": "secretmem_create"}
"""The family without which an object of a kind may not be known as one at all."""

ALWAYS_BLIND = (
    "stores and loads through a mapping that exists: only that it exists is seen",
    "a memory file put under a memslot from before the trace, where KVM's list was not read",
    "descriptors inherited by fork, until they are used",
    "KVM's own access to guest memory, nested guests, devices behind an IOMMU",
    "core dumps, /proc/kcore, swap, hwpoison, kernel modules and other BPF programs",
    "whoever can change the recorder or the kernel while it records",
)
"""What no claim is about, whatever a recording covers."""


RECORD_OPTIONS = ("--unsealable", "--audit")
"""Of ``sealsnoop record``: with these it attaches every family here, and leaves no file out."""
FORMAT = 1
_MOST_BYTES = 256 << 10
_MOST_CLAIMS = 256
_MOST_GLOBS = 1000
_MOST_FILTERS = 32
"""In the whole policy: each is compared with every memory file."""
_MOST_DOTS = 200
"""On one line: of a dotted key tomllib takes room and time that grow with the square of its parts.
Those in texts count too, since which are in texts only a parser of TOML knows.
"""
_U32, _U64, _PID = 0xFFFFFFFF, (1 << 63) - 1, 1 << 22
INACCESSIBLE = "INACCESSIBLE"
"""The F_SEAL_INACCESSIBLE of the January 2022 proposal: the same bit as EXEC."""
ACTOR_WORDS = ("vmm", "creator", "given-by-vmm", "given-by-creator")


class PolicyError(UserError):
    """``FILE:LINE: KEY: what is wrong``."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        said = "\n".join(map(printable, problem.splitlines()))  # a filter is shown with carets
        super().__init__(f"{printable(file)}:{line}: {f'{printable(key)}: ' if key else ''}{said}")


@dataclass(frozen=True)
class Actor:
    """Who: a word (``vmm``, ``creator``), or conditions that must all hold."""

    word: str = ""
    pid: tuple[int, ...] = ()
    uid: tuple[int, ...] = ()
    cgroup: tuple[int, ...] = ()
    comm: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    vm: tuple[str, ...] = ()
    exe: tuple[str, ...] = ()

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """What its cgroup has to be called, by names of `tracer.cgroups.Place`."""
        parts = {"unit": self.unit, "container": self.container, "vm": self.vm}
        return {name: globs for name, globs in parts.items() if globs}

    def __str__(self) -> str:
        if self.word:
            return self.word
        parts = {"comm": self.comm, "pid": self.pid, "uid": self.uid, "cgroup": self.cgroup}
        parts |= self.places | {"exe": self.exe}
        return " ".join(f"{k}={','.join(map(str, v))}" for k, v in parts.items() if v)


@dataclass(frozen=True)
class Scope:
    """Which memory files; all that is given must hold."""

    kind: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    seals: tuple[str, ...] = ()
    memslot: Actor | None = None
    """It backs a memslot of a VM whose VMM this is; one without conditions is any."""
    user: tuple[int, ...] = ()
    cgroup: tuple[int, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Claim:
    """What is claimed of every object in ``scope``."""

    id: str
    claim: str
    scope: Scope
    text: str = ""
    by: tuple[Actor, ...] = ()
    children: bool = False
    handover: bool = False
    seals: tuple[str, ...] = ()

    @property
    def words(self) -> frozenset[str]:
        """The words in ``by``, which must be known for it to mean anybody."""
        return frozenset(actor.word for actor in self.by if actor.word)

    @property
    def meant(self) -> frozenset[str]:
        """All words that must be known: a scope may be about guest memory, too."""
        return self.words | ({"vmm"} if self.scope.memslot else frozenset())


@dataclass(frozen=True)
class Policy:
    """A whole policy; ``sha256`` is that of the file's bytes."""

    name: str
    text: str
    claims: tuple[Claim, ...]
    path: str = ""
    sha256: str = ""
    source: bytes = field(default=b"", repr=False)


def narrowed(policy: Policy, query: Query) -> Policy:
    """The policy about those of its files alone that ``query`` matches."""
    if not query:
        return policy
    claims = (
        replace(one, scope=replace(one.scope, where=f"{one.scope.where} {query}".strip()))
        for one in policy.claims
    )
    return replace(policy, claims=tuple(claims))


def _where(text: str) -> object:
    try:
        return parse_filter(text)
    except UserError as error:
        raise ValueError(str(error).removeprefix("filter: ")) from None


def _comm(glob: str) -> None:
    problem = grammar.comm_problem([text for text, wild in grammar.glob(glob).pieces if not wild])
    if problem:
        raise ValueError(problem)


_PIDS = forms.several(forms.count("a process id", _PID))
_UIDS = forms.several(forms.count("a user number", _U32 - 1))
_CGROUPS = forms.several(forms.count("a cgroup id (the inode number of its folder)", _U64))
_COMMS = forms.several(forms.text("a command name of at most 15 bytes, * and ? match", _comm))
_NAMES = forms.several(forms.text("a name, * and ? match"))
_WHO: dict[str, Key] = {
    "comm": Key(
        _COMMS, "command name, which a process may change at will: a weak sign of who it is"
    ),
    "pid": Key(_PIDS, "process id, as the host's initial pid namespace has it"),
    "uid": Key(_UIDS, "user number"),
    "cgroup": Key(_CGROUPS, "cgroup id"),
    "unit": Key(_NAMES, "systemd unit"),
    "container": Key(_NAMES, "container's id or name"),
    "vm": Key(_NAMES, "virtual machine, as its cgroup is called (libvirt, machined)"),
    "exe": Key(_NAMES, "path of its executable, which the owner of a user namespace can choose"),
}
ACTORS = forms.several(
    forms.either(
        forms.table("an actor", _WHO, Actor, empty=False), forms.word(ACTOR_WORDS, "actor", Actor)
    )
)
_SEALS = forms.several(forms.word(SEALS, "seal"))
_VMM = forms.either(
    forms.table("the VMM", _WHO, Actor, empty=False),
    forms.truth("it backs guest memory", True, Actor()),
)
SCOPE = forms.table(
    "scope",
    {
        "kind": Key(forms.several(forms.word(KINDS, "kind")), "kind of memory file"),
        "name": Key(
            forms.several(forms.text("a name, * and ? match")), "name, with or without 'memfd:'"
        ),
        "seals": Key(_SEALS, "it had all of these seals at some time in the window"),
        "memslot": Key(
            _VMM, "it backs a KVM memslot, of any VM (true) or of one whose VMM this is"
        ),
        "user": Key(_UIDS, "user number of its owner"),
        "cgroup": Key(_CGROUPS, "cgroup of the process that was seen with it first"),
        "where": Key(forms.text("a filter", _where, 2000), "the filter language over objects"),
    },
    Scope,
)
_CHILDREN = Key(
    forms.truth("with children"), "copies of mappings that a fork makes are allowed too"
)
_HANDOVER = Key(
    forms.truth("a guest that is handed over"),
    "the guest may be handed over to another VMM (local migration) that the VMM gave the file",
)
_MORE = {"children": _CHILDREN, "handover": _HANDOVER}
_EXCEPT = {"by": Key(ACTORS, "who may nevertheless; by default nobody"), **_MORE}
_MUST = {"by": Key(ACTORS, "who may; nobody else", required=True), **_MORE}


@dataclass(frozen=True)
class ClaimType:
    """One kind of claim."""

    text: str
    """What it says, unless the policy has a text."""
    ways: tuple[str, ...]
    """The ways in which it can be broken, and so the hooks that a pass needs."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    """Its own keys in a policy."""
    by_address: frozenset[str] = frozenset()
    """Accesses by address that can break it."""
    sealable_only: bool = False
    """It says nothing about files that can have no seals."""
    guest_only: bool = False
    """It says nothing about files that are no guest_memfd."""
    by_state: bool = False
    """What breaks it depends on what was private then (`tracer.analysis.private`)."""
    without_option: bool = False
    """What breaks it is recorded of files that can never be sealed also without --unsealable."""


CLAIMS: Mapping[str, ClaimType] = {
    "never-mapped": ClaimType("No process of the host maps it.", ("map",)),
    "mapped-only-by": ClaimType("Only these map it.", ("map", "reached"), _MUST),
    "never-writable-outside": ClaimType(
        "Nobody else has a shared mapping of it that can be written, or changes it through a "
        "descriptor.",
        ("map", "write", "reached"),
        _MUST,
    ),
    "never-read-or-written": ClaimType(
        "Nobody else reads or writes it: by a call, by process_vm_readv and ptrace, through a pin, "
        "or by touching its pages.",
        ("map", "read", "write", "fault", "remote", "pin", "userfaultfd", "sev_debug", "reached"),
        _EXCEPT,
        by_address=BY_ADDRESS,
    ),
    "never-reached-while-private": ClaimType(
        "While it is private to the guest, nobody else touches its pages, reads, writes or pins "
        "them; what is shared, the host may use.",
        (
            "map",
            "read",
            "write",
            "fault",
            "remote",
            "pin",
            "userfaultfd",
            "sev_debug",
            "memslot",
            "convert",
            "reached",
        ),
        _EXCEPT,
        by_address=BY_ADDRESS,
        guest_only=True,
        by_state=True,
    ),
    "converted-only-by": ClaimType(
        "Only these make memory private or shared in the virtual machine that it belongs to.",
        ("memslot", "convert"),
        _MUST,
        guest_only=True,
    ),
    "sealed-with": ClaimType(
        "It has these seals when another process first gets it, maps it or uses it.",
        ("create", "map", "mmap", "seals", "receive", "write"),
        {"seals": Key(_SEALS, "seals it must have when it is first shared", required=True)},
        sealable_only=True,
    ),
    "executed-with": ClaimType(
        "It has these seals whenever it is executed.",
        ("exec",),
        {"seals": Key(_SEALS, "seals it must have when it is executed", required=True)},
        sealable_only=True,
        without_option=True,
    ),
    "never-pinned-except": ClaimType(
        "Nobody else pins its pages for long.",
        ("map", "pin"),
        {"by": _EXCEPT["by"], "handover": _HANDOVER},
        by_address=frozenset({"pin"}),
    ),
    "no-breach": ClaimType(
        "No call went through that a seal should have denied.",
        ("create", "mmap", "write", "seals"),
        sealable_only=True,
    ),
}


def needed(claim: str, kind: str, actors: frozenset[str] = frozenset()) -> dict[str, str]:
    """``{family: way}`` that must be live for a claim about an object of ``kind``.

    A kind that is not known needs what any kind needs. ``actors``: words in ``by``.
    """
    ways = [*CLAIMS[claim].ways, *(way for word in sorted(actors) for way in ACTOR_WAYS[word])]
    found: dict[str, str] = {}
    for way in ways:
        by_kind = WAYS[way].families
        kinds = (kind,) if kind in by_kind else tuple(by_kind)
        for one in kinds:
            for family in by_kind[one]:
                found.setdefault(family, way)
    return found


_COMMON: dict[str, Key] = {
    "claim": Key(forms.word(CLAIMS, "claim"), "what is claimed", required=True),
    "id": Key(
        forms.text("a name for this claim"), "how results name it; the claim's word by default"
    ),
    "text": Key(forms.text("a sentence", most=10_000), "why, for readers"),
    "scope": Key(SCOPE, "instead of the policy's scope, for this claim alone"),
}
_CLAIM_TABLES = {
    one: forms.table(f"a {one} claim", {**_COMMON, **kind.keys}) for one, kind in CLAIMS.items()
}
_OWN = {name: key for kind in CLAIMS.values() for name, key in kind.keys.items()}
_ANY_CLAIM = forms.table("a claim", {**_COMMON, **_OWN})


def _claim_tables() -> Form:
    """At least one claim; which keys each has depends on its word."""

    def read(value: object, at: Path, fail: Fail) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            fail(at, "claims are written [[claim]], with two brackets")
        if not value:
            fail(at, "there is no claim: nothing would be audited")
        if len(value) > _MOST_CLAIMS:
            fail(at, f"{len(value):,} claims, and a policy can have {_MOST_CLAIMS}: make several")
        return [one_of(one, (*at, place), fail) for place, one in enumerate(value)]

    def one_of(value: object, at: Path, fail: Fail) -> Any:
        if not isinstance(value, dict):
            fail(at, "claims are written [[claim]]")
        if "claim" not in value:
            return _ANY_CLAIM.read(value, at, fail)
        which = _COMMON["claim"].form.read(value["claim"], (*at, "claim"), fail)
        return _CLAIM_TABLES[which].read(value, at, fail)

    schemas = []
    for which, one in _CLAIM_TABLES.items():
        only = {"claim": {"const": which, "description": CLAIMS[which].text}}
        schemas.append({**one.schema, "properties": one.schema["properties"] | only})
    items = {"type": "array", "items": {"oneOf": schemas}, "minItems": 1}
    return Form(read, {**items, "maxItems": _MOST_CLAIMS})


POLICY = forms.table(
    "a policy",
    {
        "name": Key(forms.text("a name"), "how reports name the policy", required=True),
        "text": Key(forms.text("some sentences", most=10_000), "what it is for"),
        "format": Key(
            forms.count("a format version", FORMAT), f"{FORMAT}, the version of this form"
        ),
        "scope": Key(SCOPE, "which memory files the claims are about"),
        "claim": Key(_claim_tables(), "the claims", required=True),
    },
)


def schema() -> Schema:
    """The format of policies as JSON Schema (2020-12), made of what :func:`parse` reads by."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sealsnoop audit policy",
        **POLICY.schema,
    }


def load(path: str | os.PathLike[str]) -> Policy:
    """Reads a policy file.

    :raises UserError: the file cannot be read.
    :raises PolicyError: see :func:`parse`.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"policy {printable(name)}: {reason}") from error
    return parse(data, name)


def parse(data: bytes, path: str = "policy") -> Policy:
    """Reads a policy from the bytes of its file, TOML in UTF-8.

    :param path: what errors name, with the line.
    :raises PolicyError: it is no TOML, has an unknown key or a wrong value, or would take too long
        to compare with every memory file.
    """
    if len(data) > _MOST_BYTES:
        raise PolicyError(path, 1, "", f"larger than {_MOST_BYTES >> 10} kB: not a policy")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PolicyError(path, line, "", "not UTF-8, as TOML has to be") from None
    for number, whole in enumerate(text.split("\n"), 1):
        if whole.count(".") > _MOST_DOTS:
            raise PolicyError(path, number, "", f"more than {_MOST_DOTS:,} dots on a line")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, at = str(error).rpartition(" (at ")
        words = at.removesuffix(")").split()
        line = int(words[1].rstrip(",")) if words[:1] == ["line"] else text.count("\n") + 1
        raise PolicyError(path, line, "", problem or str(error)) from None
    except RecursionError:
        raise PolicyError(path, 1, "", "nested too deeply") from None

    def fail(at: Path, problem: str) -> NoReturn:
        raise PolicyError(path, line_of(places(text), at), _shown(at), problem)

    found = POLICY.read(raw, (), fail)
    if found.get("format", FORMAT) != FORMAT:
        fail(("format",), f"this sealsnoop reads format {FORMAT}")
    scope = found.get("scope", Scope())
    claims: list[Claim] = []
    for place, one in enumerate(found["claim"]):
        claim = _claim(one, scope, claims)
        if claim.id in {other.id for other in claims}:
            fail(("claim", place, "id"), f"there is a claim {claim.id!r} already")
        if claim.scope == Scope():
            fail(("claim", place), "no scope: say which memory files, in [scope] or in the claim")
        claims.append(claim)
    for what, count, most in _costs(claims):
        if count > most:
            fail((), f"{count:,} {what} in all claims, and a policy can have {most:,}")
    digest = hashlib.sha256(data).hexdigest()
    return Policy(found["name"], found.get("text", ""), tuple(claims), path, digest, data)


def _claim(found: Mapping[str, Any], scope: Scope, before: Sequence[Claim]) -> Claim:
    which = found["claim"]
    same = sum(one.claim == which for one in before)
    default = f"{which}-{same + 1}" if same else which
    return Claim(**{"id": default, "scope": scope, "text": CLAIMS[which].text, **found})


def _costs(claims: list[Claim]) -> Iterator[tuple[str, int, int]]:
    """What every memory file, or every row, is compared with: what, how many, how many at most."""
    scopes = {claim.scope for claim in claims}
    actors = [actor for claim in claims for actor in claim.by]
    actors += [scope.memslot for scope in scopes if scope.memslot]
    globs = sum(len(scope.name) for scope in scopes) + sum(
        len(actor.comm) + len(actor.exe) + sum(map(len, actor.places.values())) for actor in actors
    )
    yield "names and commands", globs, _MOST_GLOBS
    yield "filters", sum(bool(scope.where) for scope in scopes), _MOST_FILTERS


def _shown(at: Path) -> str:
    """``claim[2].by``: places from 1, as people count."""
    shown = ""
    for part in at:
        shown += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown
