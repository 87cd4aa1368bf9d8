"""What no hook sees: shown by doctor, stored in every recording, explained in
``docs/limitations.md``."""

from collections.abc import Iterable
from dataclasses import dataclass

from tracer.kernel.btf import Btf


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """One of them: ``text`` is what doctor and manifests say, ``why`` a sentence or two more."""

    text: str
    why: str


_SHMAT = BlindSpot(
    "SysV shmat (it does not pass vm_mmap_pgoff)",
    "It calls do_mmap (ipc/shm.c), below the function where mmap decisions are recorded. SysV "
    "segments cannot be sealed. The mapping that comes of it is recorded (`map`), the decision is "
    "not.",
)
_EARLY = BlindSpot(
    "calls that are refused before a memory file's own function is entered (EBADF, EINVAL)",
    "A wrong descriptor, a wrong flag or a wrong length ends in the system call itself. No seal "
    "was asked, so there is no decision; strace or the syscalls tracepoints show such calls.",
)

_UDMABUF = BlindSpot(
    "udmabuf, which asks for seals itself (EINVAL without SHRINK, with WRITE or FUTURE_WRITE)",
    "drivers/dma-buf/udmabuf.c:check_memfd_seals decides on UDMABUF_CREATE, and no hook is there: "
    "neither the refusal is recorded nor that a dma-buf now holds the file's pages, which stays "
    "writable whatever is sealed later.",
)
_EXEC = BlindSpot(
    "execve of a memory file, or of its interpreter, that is refused before the kernel has it in "
    "hand, unless by a descriptor of its own",
    "Without an execute bit, on a noexec mount or while the file is open for writing the kernel "
    "opens nothing (fs/exec.c:do_open_execat). Of /proc/self/fd/N and AT_EMPTY_PATH the "
    "descriptor tells which file that was (`inferred`); of any other path only a hook that "
    "everybody's path look-ups pay for would. What is executed is recorded in any case.",
)

_CUT_SHORT = BlindSpot(
    "by fexit: the requested length of a write that RLIMIT_FSIZE cut short, but of write and "
    "pwrite64",
    "The kernel shortens the request before its first check "
    "(fs/read_write.c:generic_write_checks). Of write(2) and pwrite(2) the length stands in a "
    "register; of vectored and 32-bit writes and of copies it is then what was left. The answer "
    "is right in any case, and a kprobe sees the whole length.",
)

PLAIN = (
    BlindSpot("mprotect and stores through an existing mapping (no seal check is asked there)",
              "Seals decide when a mapping is made, not when it is used: a mapping that may be "
              "written goes on to be one (which is why F_ADD_SEALS refuses F_SEAL_WRITE while one "
              "exists). `--audit` records mprotect."),
    BlindSpot("process_vm_readv/writev, ptrace, /proc/PID/mem, long-term pins, userfaultfd",
              "They reach a file's pages through an address space, past the file's own functions. "
              "`--audit` records them."),
    _SHMAT,
    BlindSpot("splice out of a memfd on kernels with a splice function of its own (since 6.5)",
              "shmem_file_splice_read hands out pages without the read function where reads are "
              "recorded. No seal of a released kernel forbids reading. `--audit` records it."),
    BlindSpot("reads of hugetlb files",
              "hugetlbfs_read_iter is not hooked: no seal of a released kernel forbids reading. "
              "`--audit` records them."),
    _EARLY,
    BlindSpot("guest_memfd, memfd_secret, and conversions of guest memory",
              "They have functions of their own, and no seals. `--audit` records them."),
    _UDMABUF,
    _EXEC,
    _CUT_SHORT,
)  # fmt: skip
"""Without ``--audit``."""

AUDIT = (
    BlindSpot("stores and loads through a mapping that exists (only that it exists is known)",
              "The processor does them, the kernel is not asked. An audit therefore claims who "
              "maps, not who reads."),
    BlindSpot("when a pin ends; short pins and reads by kernel threads of this process's memory "
              "(vhost, AIO)",
              "A pin is recorded when it is taken for long (FOLL_LONGTERM). It outlives the "
              "mapping; short ones are too many, and end by themselves."),
    BlindSpot("process_vm_readv/writev, ptrace and /proc/PID/mem that are refused before a page "
              "is asked for",
              "Permission is checked first. What was refused there reached no memory."),
    BlindSpot("vmsplice of a memory file's pages; mappings of a dma-buf made from a memfd",
              "Pages go on in a pipe, or under the inode of a dma-buf (udmabuf), and are no "
              "longer known by the memory file."),
    BlindSpot("KVM's own access to guest memory, nested guests, devices behind an IOMMU",
              "They use host addresses or pages that were given to them before; which file stands "
              "behind is known from the memslot."),
    BlindSpot("which range of guest memory was to be converted, of a conversion that was refused",
              "KVM takes nothing in hand then (virt/kvm/kvm_main.c): what is told is what the "
              "caller's memory said (`inferred`), which he can change meanwhile. Of one that went "
              "through, KVM's own range is recorded."),
    BlindSpot("what a guest accepts or validates for itself (TDX, SEV-SNP), and which part of a "
              "guest_memfd is converted in place",
              "The first passes no function of KVM. No kernel up to 7.3 has the second "
              "(kvm_gmem_set_attributes, on the list); where one has it the call is recorded with "
              "the range that the caller's memory had, and the file counts as unknown from then."),
    BlindSpot("core dumps, /proc/kcore, swap, hwpoison, kernel modules and other BPF programs",
              "Whoever may load code into the kernel, or read all of its memory, needs none of "
              "the functions that are hooked."),
    BlindSpot("descriptors inherited by fork (the final sweep sees who still has them)",
              "A child has them without any call of its own; its first use is recorded."),
    BlindSpot("SysV shmat (the mappings themselves are seen)", _SHMAT.why),
    _EARLY,
    BlindSpot("what udmabuf answers, and before 6.11 which memfds it was given",
              "That it is asked for a dma-buf is recorded (`device`), and since 6.11 the pins of "
              "the files (memfd_pin_folios)."),
    BlindSpot("who asks an io_uring whose own thread polls for requests (IORING_SETUP_SQPOLL)",
              "That thread does them in the name of the ring's owner. That it does, with buffers "
              "that were registered, is recorded once for a ring (`ring`)."),
    BlindSpot("what a vfork child does before it executes something",
              "It runs in its parent's memory while the parent's thread waits, as a thread of it "
              "would, and stands for it. Of one that ends and has executed nothing that is "
              "recorded (`share_mm`)."),
    _EXEC,
    _CUT_SHORT,
)  # fmt: skip
"""With ``--audit``."""

BLIND_SPOTS = tuple(spot.text for spot in PLAIN)
"""What none of the families looks at: stored in every recording, and shown by doctor."""

AUDIT_BLIND_SPOTS = tuple(spot.text for spot in AUDIT)
"""What the audit families do not look at."""

FTRACE_BLIND_SPOTS = (
    "by ftrace: what a call left behind (seals, size) is read again at its return on kernels that "
    "keep its arguments (since 6.9); on others it follows from the call and its answer, and from "
    "all F_ADD_SEALS calls seen meanwhile",
    "by ftrace: mremap and remap_file_pages (the mappings that they make and end are seen)",
    "by ftrace: execve of a memory file that is refused before the kernel has it in hand (no fetch "
    "can look a descriptor up), and the address space that an execution gets",
    "by ftrace: on kernels that count a fault in a fetch as a missed probe (until 5.13) another "
    "probe in the same calls tells whether mmap's own are missed",
    "by ftrace: the descriptor and number of a system call that lies deep in the kernel's stack; "
    "fd is then -1",
    "by ftrace: conversions of guest memory, but for the range and the wish where KVM has a "
    "tracepoint for them (7.2, 7.3) and is loaded when the recording begins: of which virtual "
    "machine, and with what answer, is not told, and what KVM refuses is not seen; their verdict "
    "is indeterminate",
    "by ftrace: whether an unmapping happens in another process's address space",
    "by ftrace: returns stand in the ring without what they belong to; where it dropped events, or "
    "a probe was skipped, the decisions of that time are marked no-return and are indeterminate",
)
"""What the source ftrace sees less of, stored in its recordings."""


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """Functions that some kernels have, and what goes unseen in them."""

    functions: tuple[str, ...]
    spot: BlindSpot


UNFOLLOWED = (
    Unfollowed(
        ("kvm_gmem_populate", "__kvm_gmem_populate"),
        BlindSpot("what a VMM puts into a guest_memfd before its guest runs",
                  "The launch of SEV-SNP and of TDX copies pages of the VMM's into it in the "
                  "kernel, and the guest measures them. That the VMM knows them is no access to "
                  "what the guest writes later."),
    ),
    Unfollowed(
        ("sev_gmem_prepare", "sev_gmem_invalidate", "sev_gmem_make_private",
         "sev_gmem_make_shared", "sev_gmem_invalidate_range"),
        BlindSpot("when the processor takes pages of a guest_memfd for the guest alone, or gives "
                  "them back (SEV-SNP)",
                  "The host's access to such a page faults, whatever KVM's attributes say. What "
                  "was private is told here by the attributes, as KVM has them."),
    ),
)  # fmt: skip
"""With ``--audit``, on kernels that have one of the functions."""


def of_kernel(modules: Iterable[Btf]) -> tuple[str, ...]:
    """What else an audit does not see on a kernel, by the BTF of its modules."""
    there = list(modules)
    found = []
    for one in UNFOLLOWED:
        names = [name for name in one.functions if any(btf.has_function(name) for btf in there)]
        if names:
            found.append(f"{one.spot.text}: {', '.join(names)}")
    return tuple(found)
