"""The kernel's own functions: names of addresses, without ours on top."""

import struct
from pathlib import Path

import pytest

from tracer.capture.stacks.kernel import KernelSymbols
from tracer.errors import UserError
from tracer.record import FrameWhat

TEXT = 0xFFFFFFFF81000000
MODULE = 0xFFFFFFFFC0000000
BPF = 0xFFFFFFFFC0800000
KALLSYMS = f"""\
0000000000000000 A fixed_percpu_data
{TEXT:x} T _stext
{TEXT + 0x100:x} T vfs_write
{TEXT + 0x100:x} T vfs_write_alias
{TEXT + 0x200:x} t do_syscall_64
{TEXT + 0x300:x} T bpf_get_task_stack
{TEXT + 0x400:x} t trace_call_bpf
{TEXT + 0x500:x} t kretprobe_perf_func
{TEXT + 0x600:x} t arch_rethook_trampoline_callback
{TEXT + 0x700:x} t arch_rethook_trampoline
{TEXT + 0x800:x} D some_data
{TEXT + 0x900:x} T shmem_file_write_iter
{MODULE:x} t ext4_write\t[ext4]
{BPF:x} t bpf_prog_6deef7357e7b4530_ends\t[bpf]
{BPF + 0x1000:x} t bpf_trampoline_6442536467\t[bpf]
"""
HELPER, PROGRAM, TRAMPOLINE = TEXT + 0x320, BPF + 0x50, BPF + 0x1043
WRITE, CALL, HOOKED = TEXT + 0x140, TEXT + 0x25D, TEXT + 0x905


def symbols(root: Path, text: str = KALLSYMS) -> KernelSymbols:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/kallsyms").write_text(text)
    (root / "proc/modules").write_text("ext4 1 0 - Live 0x0\n")
    return KernelSymbols(root)


def shown(found: KernelSymbols, *addresses: int) -> list[tuple[str, int]]:
    frames = found.frames(struct.pack(f"<{len(addresses)}Q", *addresses))
    assert {one.what for one in frames} <= {FrameWhat.KERNEL}
    assert not any(one.module or one.interrupted for one in frames)
    return [(one.name.decode(), one.offset) for one in frames]


CALLERS = [("vfs_write", 0x40), ("do_syscall_64", 0x5D)]


@pytest.mark.parametrize(
    ("on_top", "left"),
    [
        ([], []),
        ([HELPER, PROGRAM, TRAMPOLINE, HOOKED], [("shmem_file_write_iter", 5)]),
        ([HELPER, PROGRAM, TEXT + 0x410, TEXT + 0x510, TEXT + 0x610, TEXT + 0x710], []),
        # Code of BPF that the kernel does not list.
        ([HELPER, BPF + 0x90000, BPF + 0xA0000, HOOKED], [("shmem_file_write_iter", 5)]),
    ],
)
def test_ours_are_dropped(tmp_path: Path, on_top: list[int], left: list[tuple[str, int]]) -> None:
    assert shown(symbols(tmp_path), *on_top, WRITE, CALL) == [*left, *CALLERS]


def test_what_another_tracer_has_further_out_stays(tmp_path: Path) -> None:
    found = shown(symbols(tmp_path), HELPER, PROGRAM, TRAMPOLINE, HOOKED, TRAMPOLINE, WRITE, CALL)
    assert found == [
        ("shmem_file_write_iter", 5), ("bpf_trampoline_6442536467 [bpf]", 0x43), *CALLERS,
    ]  # fmt: skip


def test_a_module_says_which(tmp_path: Path) -> None:
    assert shown(symbols(tmp_path), MODULE + 9, CALL)[0] == ("ext4_write [ext4]", 9)


def test_what_lies_behind_all_that_is_listed_has_no_name(tmp_path: Path) -> None:
    found = symbols(tmp_path)
    assert shown(found, WRITE, HELPER, PROGRAM, CALL, MODULE + 0x20000, CALL) == [
        CALLERS[1], ("", 0), CALLERS[1],
    ]  # fmt: skip


def test_a_call_that_ends_a_function_is_that_functions(tmp_path: Path) -> None:
    """What it returns to is the next one's first byte."""
    assert shown(symbols(tmp_path), TEXT + 0x200)[0] == ("vfs_write", 0x100)


def test_another_module_in_the_place_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = symbols(tmp_path)
    assert shown(found, MODULE + 9)[0][0] == "ext4_write [ext4]"
    (tmp_path / "proc/kallsyms").write_text(KALLSYMS.replace("ext4_write\t[ext4]", "kvm\t[kvm]"))
    (tmp_path / "proc/modules").write_text("kvm 1 0 - Live 0x0\n")
    monkeypatch.setattr("tracer.capture.stacks.kernel._FRESH_S", 0.0)
    assert shown(found, MODULE + 9)[0][0] == "kvm [kvm]"


@pytest.mark.parametrize("text", ["", "\n".join(
    f"{'0' * 16} {line[17:]}" for line in KALLSYMS.splitlines())])  # fmt: skip
def test_a_kernel_that_hides_its_addresses(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="kptr_restrict"):
        symbols(tmp_path, text)
