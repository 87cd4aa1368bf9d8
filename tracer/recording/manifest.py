"""What stands in a recording's JSON files: ``docs/schema.md`` is made from this.

``a.b`` is key b of the object a, ``a[].b`` of each object in the list a. What stands before the
semicolon is the type, which `tracer.recording.gate` holds every document against.

``end.json``: written only when the recorder itself stopped, and why it did.
"""

from collections.abc import Mapping
from typing import Any

from tracer.recording.errors import DiskFull, StoreError

MANIFEST = {
    "format": 'text; always "sealsnoop recording"',
    "schema_version": "number; see the change log",
    "record_size": "number; bytes of one record in the tail",
    "kernel.release": "text; uname -r",
    "kernel.version": "text; uname -v",
    "kernel.machine": "text; uname -m",
    "kernel.command_line": "text or null; /proc/cmdline",
    "boot_id": "text or null; /proc/sys/kernel/random/boot_id",
    "host": "text; the host's name",
    "cpus": "number; of CPUs",
    "clock_source": "text or null; the kernel's clock source",
    "page_size": "number; bytes",
    "memfd_noexec": "text or null; /proc/sys/vm/memfd_noexec",
    "tool.sealsnoop": "text; version of the recorder",
    "tool.python": "text; version of its Python",
    "command_line": "list of text; how the recorder was called",
    "btf_sha256": "text; SHA-256 of the kernel's BTF, which names the very build",
    "hooks[].family": "text; the hook family",
    "hooks[].program": "text; the BPF program that serves it",
    "hooks[].hook": "text; its word in the column `hook`",
    "hooks[].ops": "list of text; the operations it tells of",
    "hooks[].symbol": "text or null; the kernel function, null: not attached",
    "hooks[].method": "text or null; fexit or kprobe; without a symbol: waits for its module",
    "hooks[].reason": "text; why so",
    "hooks[].unseen": "text; what stays unseen without it",
    "hooks[].essential": "true or false; false: a kernel may have nothing there to be seen",
    "hooks[].module": "text or null; the kernel module it is in",
    "hooks[].prototype": "text or null; the function as BTF describes it",
    "hooks[].parameters": "number; of its parameters, 0: unknown",
    "hooks[].defines": "list of [text, number]; argument places for the BPF source",
    "hooks[].at_entry": "true or false; a program runs at its entry",
    "hooks[].at_return": "true or false; and at its return",
    "hooks[].way": "number; what the shared program is to do (bpf/access.h), 0: its own program",
    "hooks[].absent": "true or false; true: this kernel has no such function and need not",
    "source": "text; bpf or ftrace; not there: bpf",
    "method": "text; the method asked for: auto, fexit or kprobe",
    "audit": "true or false; recorded with --audit",
    "blind_spots": "list of text; what no hook looks at (docs/limitations.md)",
    "filters.pids": "list of numbers; only these processes and their children",
    "filters.uids": "list of numbers; only these users",
    "filters.cgroups": "list of numbers; only tasks in these cgroups",
    "filters.name": "text; only files whose name begins so, escaped",
    "filters.seals": "number; F_SEAL_* bits, only files that carry all of them",
    "filters.denied": "true or false; only operations that failed",
    "filters.unsealable": "true or false; also files that can never be sealed (tmpfs files, memfds "
    "without MFD_ALLOW_SEALING)",
    "filters.follow_command": "true or false; only the command and its children",
    "ring_bytes": "number; bytes of the ring buffer",
    "command": "list of text; the command that was run, empty: none",
    "self_test": "object or null; null: it was not asked for",
    "self_test.ran": "true or false; false: it failed",
    "self_test.failed": "text or null; why",
    "self_test.thorough": "true or false; every seal set was tried",
    "self_test.seconds": "decimal; how long it took",
    "self_test.cases": "number; of calls that it made",
    "self_test.variants": "object of text; question → which documented variant this kernel is",
    "self_test.open": "list of text; questions that nothing here could settle",
    "self_test.bit_0x20": "text; what seal 0x20 means: exec (F_SEAL_EXEC, and 0x8 is "
    "MFD_NOEXEC_SEAL), inaccessible (F_SEAL_INACCESSIBLE of the 2022 proposal, and 0x8 is "
    "MFD_INACCESSIBLE), none (this kernel refuses both bits), unknown "
    "(taken, but it does what no documented seal does)",
    "self_test.write_chunk": "number or null; bytes that one write asks its seals about",
    "self_test.holes": "list of text; known holes that this kernel has",
    "self_test.verdicts": "object of numbers; verdict → number of calls",
    "self_test.unexplained": "list of objects; answers that no documented variant gives",
    "self_test.hooks": "object or null; family → attempts expected, seen and extra; null: not "
    "confirmed",
    "self_test.hooks_note": "text or null; why hooks were not confirmed, or only in part",
    "self_test.lost": "object of numbers; cause → number of events lost while it ran, whoever's "
    "they were",
}

END = {
    "reason": "text; why the recorder stopped; `failed` or `disk full` when it could not store",
    "rows": "number; of records that it accepted",
    "unsaved": "number; of these that are in no file",
    "final_seq": "object of numbers; CPU → how many sequence numbers it had given out",
    "lost": "object of numbers; cause → number of lost events",
    "in_flight": "number; of calls that had not returned at the stop",
    "baseline": "object; `start` and, with --audit, `final` → what was missed in reading /proc "
    "(`problems`), or null: not read",
    "stopped_early": "true or false; only where it stopped at --max-size: what came after is not "
    "known",
    "asked_reason": "text; only after a failure: why it was to stop",
    "error": "text; only after a failure: what failed",
}

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


def end_document(
    extra: Mapping[str, Any],
    *,
    reason: str,
    error: StoreError | None,
    final_seq: Mapping[int, int],
    rows: int,
    unsaved: int,
) -> dict[str, Any]:
    """The content of ``end.json``; ``error`` takes the place of the reason that was asked for."""
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
