"""Kernel symbols from made-up /proc, /sys trees, and from this machine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tracer.kernel.symbols import Symbols, SymbolsError, data_address

KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000010 t shmem_mmap
ffffffff81000020 T vm_mmap_pgoff
ffffffff81000030 W weak_one
ffffffff81000040 w weak_two
ffffffff81000050 D shmem_data
ffffffff81000060 t twice
ffffffff81000070 t twice
ffffffff81000080 t secretmem_file_create.isra.0
ffffffff81000090 t secretmem_file_create.constprop.0
ffffffff810000a0 t secretmem_file_create.isra.0.cold
ffffffff810000b0 t shmem_mmap.cold
ffffffff810000c0 t helper.part.0
ffffffffc0000000 t kvm_gmem_release\t[kvm]
ffffffffc0000010 t vm_mmap_pgoff\t[impostor]
ffffffffc0000020 t bpf_prog_0123_handler\t[bpf]
ffffffffc0000030 t ftrace_trampoline\t[__builtin__ftrace]
"""


def tree(root: Path, **files: str) -> Path:
    """Write files given as path with '__' for '/'."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    return Symbols.load(tree(tmp_path, proc__kallsyms=KALLSYMS))


def test_has(symbols: Symbols) -> None:
    present = ["_stext", "shmem_mmap", "vm_mmap_pgoff", "weak_one", "weak_two", "kvm_gmem_release"]
    assert [name for name in present if symbols.has(name)] == present
    # data, trampolines, programs, parts of a name and nothing are no functions
    absent = ["shmem_data", "bpf_prog_0123_handler", "ftrace_trampoline", "shmem", "", "T", "[kvm]"]
    assert [name for name in absent if symbols.has(name)] == []


def test_has_module(symbols: Symbols) -> None:
    assert symbols.has_module("kvm")
    assert not symbols.has_module("kv")
    assert not symbols.has_module("kvm_amd")


def test_data_address(tmp_path: Path) -> None:
    text = KALLSYMS + (
        "ffffffffc0698240 r kvm_gmem_iops\t[kvm]\n"
        "ffffffffc0698250 r kvm_gmem_iops2\t[kvm]\n"
        "ffffffffc0698260 r kvm_gmem_fops\t[other]\n"
        "ffffffffc0698270 r built_in\n"
        "ffffffffc0698280 r both\n"
        "ffffffffc0698290 r both\t[kvm]\n"
    )
    root = tree(tmp_path, proc__kallsyms=text)
    assert data_address("kvm_gmem_iops", "kvm", root) == 0xFFFFFFFFC0698240
    assert data_address("kvm_gmem_fops", "kvm", root) == 0
    assert data_address("built_in", "kvm", root) == 0xFFFFFFFFC0698270
    assert data_address("both", "kvm", root) == 0xFFFFFFFFC0698290
    assert data_address("kvm.gmem.iops", "kvm", root) == 0
    assert data_address("kvm_gmem_iops", "kvm", tmp_path / "nowhere") == 0


def test_module_of(symbols: Symbols) -> None:
    assert symbols.module_of("kvm_gmem_release") == "kvm"
    assert symbols.module_of("shmem_mmap") is None
    assert symbols.module_of("vm_mmap_pgoff") is None  # the kernel's own comes first
    assert symbols.module_of("nowhere") is None


def test_suffixed(symbols: Symbols) -> None:
    assert symbols.suffixed("secretmem_file_create") == (
        "secretmem_file_create.constprop.0",
        "secretmem_file_create.isra.0",
    )
    assert not symbols.has("secretmem_file_create")
    assert symbols.suffixed("shmem_mmap") == ()  # a cold part is no copy
    assert symbols.suffixed("helper") == ()
    assert symbols.suffixed("nowhere") == ()


def test_unprivileged_addresses_are_zero(tmp_path: Path) -> None:
    hidden = "".join(f"{'0' * 16}{line[16:]}\n" for line in KALLSYMS.splitlines())
    symbols = Symbols.load(tree(tmp_path, proc__kallsyms=hidden))
    assert symbols.has("vm_mmap_pgoff")
    assert symbols.module_of("kvm_gmem_release") == "kvm"


def test_unknown_without_tracefs(symbols: Symbols) -> None:
    assert symbols.traceable("vm_mmap_pgoff") is None
    assert symbols.traceable("nowhere") is False


@pytest.mark.parametrize("folder", ["sys__kernel__tracing", "sys__kernel__debug__tracing"])
def test_traceable(tmp_path: Path, folder: str) -> None:
    listed = "shmem_mmap\nweak_one\nkvm_gmem_release [kvm]\n__ftrace_invalid_address___16\n"
    symbols = Symbols.load(
        tree(
            tmp_path,
            proc__kallsyms=KALLSYMS,
            sys__kernel__debug__kprobes__blacklist="0xffffffff81000030-0xffffffff81000040\tweak_one\n",
            **{f"{folder}__available_filter_functions": listed},
        )
    )
    asked = ("shmem_mmap", "kvm_gmem_release", "vm_mmap_pgoff", "weak_one", "nowhere")
    assert [symbols.traceable(name) for name in asked] == [True, True, False, False, False]


def test_blacklist_alone(tmp_path: Path) -> None:
    symbols = Symbols.load(
        tree(
            tmp_path,
            proc__kallsyms=KALLSYMS,
            sys__kernel__debug__kprobes__blacklist="0x0-0x0\tweak_one\n\nodd\n",
        )
    )
    assert symbols.traceable("weak_one") is False
    assert symbols.traceable("shmem_mmap") is None


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SymbolsError) as caught:
        Symbols.load(tmp_path)
    assert caught.value.cause == f"there is no {tmp_path}/proc/kallsyms"
    assert caught.value.remedy == "mount /proc, or use a kernel built with CONFIG_KALLSYMS"


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "proc/kallsyms").mkdir(parents=True)
    with pytest.raises(SymbolsError) as caught:
        Symbols.load(tmp_path)
    assert caught.value.cause == f"cannot read {tmp_path}/proc/kallsyms: Is a directory"


@pytest.mark.parametrize("text", ["", "ffffffff81000050 D only_data\n", "\x00\xff rubbish\n"])
def test_no_function_listed(tmp_path: Path, text: str) -> None:
    with pytest.raises(SymbolsError, match="lists no function"):
        Symbols.load(tree(tmp_path, proc__kallsyms=text))


def test_large_list_is_fast(tmp_path: Path) -> None:
    lines = (f"{number:016x} t some_function_name_{number}\n" for number in range(200_000))
    tree(tmp_path, proc__kallsyms="".join(lines))
    start = time.process_time()  # ours alone, whatever else this machine does
    symbols = Symbols.load(tmp_path)
    assert time.process_time() - start < 1.0  # 0.1 s is usual
    assert len(symbols) == 200_000


@pytest.mark.skipif(not Path("/proc/kallsyms").exists(), reason="no /proc/kallsyms")
def test_this_machine() -> None:
    try:
        symbols = Symbols.load()
    except SymbolsError as error:
        pytest.skip(str(error))
    assert symbols.has("vm_mmap_pgoff")
    assert symbols.traceable("vm_mmap_pgoff") in (True, None)
