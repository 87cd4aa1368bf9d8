"""Readable arguments and answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer import labels as args
from tracer.labels import MFD, flag_names, mfd_flags
from tracer.recording.manifest import Manifest
from tracer.words import EXEC, INACCESSIBLE, OPS, UNKNOWN, Bit5, Op, names


@pytest.mark.parametrize(
    ("op", "kind", "arg", "text"),
    [
        ("mmap", "memfd", 3 | 0x01 << 32, "SHARED rw- 8+16"),
        ("mmap", "memfd", 1 | 0x8012 << 32, "PRIVATE|FIXED|POPULATE r-- 8+16"),
        ("mmap", "memfd", 7 | 0x03 << 32, "SHARED_VALIDATE rwx 8+16"),
        ("mmap", "hugetlb", 3 | (0x40001 | 21 << 26) << 32, "SHARED|HUGETLB|2M rw- 8+16"),
        ("mmap", "memfd", 0x13 | 0x06 << 32, "type0x6 rw-|0x10 8+16"),
        ("mprotect", "memfd", 5, "r-x 8+16"),
        ("write", "memfd", 0, "8+16"),
        ("truncate", "memfd", 0x2068, "4096→16"),
        ("truncate", "memfd", 0x2069 | 0o600 << 32, "4096→16 0600"),
        ("chmod", "memfd", 0x41 | 0o100755 << 32, "0755"),
        ("chmod", "memfd", 0x46, "UID|GID"),
        ("chmod", "memfd", 0b11_1110_0000_0110_1000 | 0xF << 60, ""),  # what comes with the others
        (
            "chmod",
            "memfd",
            1 << 4 | 0b111 << 7 | 0b11 << 11,
            "ATIME|ATIME_SET|MTIME_SET|FORCE|KILL_SUID|KILL_SGID",
        ),
        ("chmod", "memfd", 1 | 0o170000 << 32, "0000"),
        ("allocate", "memfd", 0, "0 8+16"),
        ("punch_hole", "memfd", 3, "KEEP_SIZE|PUNCH_HOLE 8+16"),
        ("add_seals", "memfd", 0x48, "WRITE|0x40"),
        ("create", "memfd", 3, "CLOEXEC|ALLOW_SEALING"),
        ("create", "hugetlb", 4 | 30 << 26, "HUGETLB|1G"),
        ("create", "guest_memfd", 3, "MMAP|INIT_SHARED"),
        ("create", "secretmem", 0o2000000, "CLOEXEC"),
        ("mremap", "memfd", 0x1 | 0x8B << 8 | 3 << 16, "rw-s MAYMOVE 8+12288→16"),
        ("mremap", "memfd", 0x89 << 8 | 3 << 16, "r--s 8+12288→16"),
        ("remap_file_pages", "memfd", 0x8B << 8 | 0x7F001 << 16, "rw-s 8+16 at 0x7f001000"),
        ("map", "memfd", 0xB, "rw-s 8+16"),
        ("map", "memfd", 0x91, "r--s 8+16"),
        ("unmap", "memfd", 0x71, "r--p 8+16"),
        ("remote_read", "memfd", 0, "8+16"),
        ("remote_write", "memfd", 1, "8+16"),
        ("pin", "memfd", 0x10001, "WRITE 8+16"),
        ("pin", "memfd", 0x100, "READ 8+16"),
        ("fault", "guest_memfd", 0x41, "WRITE 8+16"),
        ("fault", "secretmem", 0x40, "READ 8+16"),
        ("uffd_register", "memfd", 5, "MISSING|MINOR 8+16"),
        ("uffd_fill", "memfd", 3, "CONTINUE 8+16"),
        ("uffd_fill", "memfd", 77, "77 8+16"),
        ("sev_debug", "memfd", 18, "DECRYPT 8+16"),
        ("sev_debug", "memfd", 20, "20 8+16"),
        ("advise", "memfd", 21, "PAGEOUT 8+16"),
        ("advise", "memfd", 250, "250 8+16"),
        ("trace", "unknown", 4711, "pid 4711"),
        ("share_mm", "unknown", 4711, "pid 4711"),
        ("ring", "unknown", 0, "16 buffers"),
        ("device", "unknown", 1, "udmabuf of 16"),
        ("receive", "memfd", 3 | 9 << 32, "proc_fd"),
        ("memslot", "guest_memfd", 0x10000, "gpa 0x10000+0x10 at 8"),
        ("convert", "unknown", 8, "0x8+0x10 to private"),
        ("convert", "unknown", 0, "0x8+0x10 to shared"),
        ("convert", "unknown", 9, "0x8+0x10 to 0x9"),
        ("evict", "memfd", 0, ""),
        ("receive", "memfd", 0, ""),
        ("mapped", "memfd", 0, ""),
        ("op_77", "memfd", 5, ""),
    ],
)
def test_describe(op: str, kind: str, arg: int, text: str) -> None:
    assert args.describe(op, kind, arg, 8, 16, 4096, EXEC) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1024, "1K"), (1536, "1.5K"), (1 << 30, "1G"), (1 << 62, "4096P"),
     (None, "?")],
)  # fmt: skip
def test_sizes(number: int | None, text: str) -> None:
    assert args.size(number) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0ns"), (999, "999ns"), (4100, "4µs"), (12_500_000, "12ms"), (9_900_000_000, "9.9s"),
     (90_000_000_000, "1m30"), (7_200_000_000_000, "2h00"), (9 * 86400 * 10**9, "9d"), (None, "-")],
)  # fmt: skip
def test_spans(ns: int | None, text: str) -> None:
    assert args.span(ns) == text


@pytest.mark.parametrize(
    ("vm_flags", "shared", "writable"),
    [
        (0xFB, True, True),
        (0xF9, True, True),  # mprotect may make it so
        (0xD9, True, False),
        (0x91, True, False),  # made through a read-only descriptor: VM_MAYSHARE alone
        (0xB3, True, False),
        (0x73, False, False),
        (0x0B, True, True),  # from /proc
        (0x09, True, False),
        (0x03, False, False),
    ],
)
def test_what_a_mapping_is(vm_flags: int, shared: bool, writable: bool) -> None:
    assert args.is_shared(vm_flags) is shared
    assert args.is_writable(vm_flags) is writable


def test_a_deleted_memslot() -> None:
    assert args.describe("memslot", "unknown", 0x10000, 0, 0, 7, EXEC) == "gpa 0x10000 deleted"


def test_unknown_bits_are_never_dropped() -> None:
    assert flag_names(0x8000_0001, MFD) == "CLOEXEC|0x80000000"
    assert flag_names(0, MFD) == "0"
    assert mfd_flags(0x20, EXEC) == ["0x20"]


def test_seals_text_knows_unknown() -> None:
    assert args.seals_text(0x0B) == "Ss-w--"
    assert args.seals_text(args.SEALS_UNKNOWN) == "??????"


@pytest.mark.parametrize(
    ("bit5", "seals", "flags"),
    [
        (EXEC, "SEAL|EXEC", "CLOEXEC|NOEXEC_SEAL"),
        (INACCESSIBLE, "SEAL|INACCESSIBLE", "CLOEXEC|INACCESSIBLE"),
        (UNKNOWN, "SEAL|0x20", "CLOEXEC|0x8"),
    ],
)
def test_what_the_kernel_calls_bit_0x20(bit5: Bit5, seals: str, flags: str) -> None:
    assert names(0x21, bit5) == seals
    assert names(0x61, bit5) == f"{seals}|0x40"
    assert args.describe("add_seals", "memfd", 0x21, 0, 0, 0, bit5) == seals
    assert args.describe("create", "memfd", 9, 0, 0, 0, bit5) == flags
    assert args.describe("create", "memfd", 0x29, 0, 0, 0, bit5) == f"{flags}|0x20"
    assert args.describe("create", "hugetlb", 0xD | 21 << 26, 0, 0, 0, bit5) == (
        flags.replace("CLOEXEC|", "CLOEXEC|HUGETLB|") + "|2M"
    )
    # Other system calls have other flags there.
    assert args.describe("create", "guest_memfd", 8, 0, 0, 0, bit5) == "0x8"


@pytest.mark.parametrize(
    ("manifest", "bit5"),
    [
        ({"self_test": {"ran": True, "bit_0x20": "exec"}}, EXEC),
        ({"self_test": {"ran": True, "bit_0x20": "inaccessible"}}, INACCESSIBLE),
        ({"self_test": {"ran": True, "bit_0x20": "none"}}, EXEC),
        ({"self_test": {"ran": True, "bit_0x20": "unknown"}}, UNKNOWN),
        ({"self_test": {"ran": True}}, UNKNOWN),
        ({"self_test": {"ran": False, "bit_0x20": "exec"}}, UNKNOWN),
        ({"self_test": {"bit_0x20": "exec"}}, UNKNOWN),
        ({"self_test": None}, UNKNOWN),
        ({}, UNKNOWN),
        ({"self_test": {"ran": True, "bit_0x20": "EXEC"}}, UNKNOWN),
    ],
)
def test_a_manifest_tells_the_names_of_bit_0x20(manifest: dict[str, Any], bit5: Bit5) -> None:
    assert Manifest.of(manifest).bit5 == bit5


@pytest.mark.parametrize(
    ("op", "kind", "arg", "found"),
    [
        ("mmap", "memfd", 3 | 0x11 << 32, {"prot": ["READ", "WRITE"],
                                           "map_flags": ["SHARED", "FIXED"]}),
        ("mmap", "memfd", 0x5400_0002_0000_0000 | 0x40002 << 32,
         {"prot": [], "map_flags": ["PRIVATE", "HUGETLB", "2M"]}),
        ("map", "memfd", 0xB, {"prot": ["READ", "WRITE"], "map_flags": ["SHARED"]}),
        ("mremap", "memfd", 0x1 | 0x8B << 8 | 3 << 16,
         {"prot": ["READ", "WRITE"], "map_flags": ["SHARED"], "mremap_flags": ["MAYMOVE"]}),
        ("mprotect", "memfd", 5, {"prot": ["READ", "EXEC"]}),
        ("add_seals", "memfd", 0x28, {"add_seals": ["WRITE", "EXEC"]}),
        ("create", "memfd", 0xB, {"create_flags": ["CLOEXEC", "ALLOW_SEALING", "NOEXEC_SEAL"]}),
        ("create", "guest_memfd", 1, {"create_flags": ["MMAP"]}),
        ("punch_hole", "memfd", 3, {"fallocate_mode": ["KEEP_SIZE", "PUNCH_HOLE"]}),
        ("pin", "memfd", 0, {"access": ["READ"]}),
        ("write", "memfd", 7, {}),
        ("op_77", "memfd", 7, {}),
    ],
)  # fmt: skip
def test_arguments(op: str, kind: str, arg: int, found: dict[str, list[str]]) -> None:
    assert args.arguments(op, kind, arg, EXEC) == found
    assert found.keys() <= {*args.ARGUMENTS}


@given(st.sampled_from([*OPS]), st.sampled_from(["memfd", "guest_memfd"]), st.integers(0, 1 << 63))
def test_lists_say_what_the_text_says(op: Op, kind: str, arg: int) -> None:
    lists = args.arguments(op.name.lower(), kind, arg, EXEC)
    text = args.describe(op.name.lower(), kind, arg, 0, 0, 0, EXEC)
    assert lists.keys() <= {*args.ARGUMENTS}
    for name, flags in lists.items():
        if name not in ("prot", "map_flags", "attributes"):  # their texts are shorter
            assert "|".join(flags) in text


def test_seals_as_a_list() -> None:
    assert args.seal_list(0, EXEC) == []
    assert args.seal_list(0x29, EXEC) == ["SEAL", "WRITE", "EXEC"]
    assert args.seal_list(args.SEALS_UNKNOWN, EXEC) is None
