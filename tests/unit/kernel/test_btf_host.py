"""The BTF reader on this machine's kernel, against pahole, and on a host's modules."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.kernel.btf_builder import Builder
from tracer.kernel.btf import Btf, module_btfs
from tracer.kernel.btf_file import BtfError

VMLINUX = Path("/sys/kernel/btf/vmlinux")
needs_vmlinux = pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.from_file(VMLINUX)


@needs_vmlinux
def test_vmlinux_has_what_the_hooks_need(vmlinux: Btf) -> None:
    assert vmlinux.offset_of("qstr", "name") == 8
    assert vmlinux.has_member("file", "f_inode")
    assert vmlinux.function("vm_mmap_pgoff").index_of_pointer("file") == 0
    assert len(vmlinux.function("vm_mmap_pgoff").params) == 6
    # KERNEL.md section 3: a1 on every kernel, whatever a0 is
    assert vmlinux.function("shmem_write_begin").index_of_pointer("address_space") == 1
    assert vmlinux.find_enumerator("BPF_MAP_TYPE_RINGBUF") == 27


@needs_vmlinux
def test_vmlinux_loads_fast(vmlinux: Btf) -> None:
    start = time.process_time()  # ours alone, whatever else this machine does
    count = Btf.from_file(VMLINUX).type_count
    # 0.08 s for 126,000 types is usual
    assert time.process_time() - start < 1e-5 * count + 0.5


@pytest.mark.slow
@needs_vmlinux
def test_every_vmlinux_function_resolves(vmlinux: Btf) -> None:
    names = [name.decode() for name in vmlinux._names["func"]]
    assert len(names) > 10_000
    for name in names:
        assert str(vmlinux.function(name))


@needs_vmlinux
@pytest.mark.parametrize(
    "name", ["file", "inode", "dentry", "iattr", "kiocb", "address_space", "shmem_inode_info"]
)
def test_offsets_agree_with_pahole(vmlinux: Btf, name: str) -> None:
    shown = subprocess.run(
        ["pahole", "-C", name, str(VMLINUX)], capture_output=True, text=True, check=False
    ).stdout
    # only first-level members: one tab, a plain declarator, "/* OFFSET SIZE */"
    found = re.findall(r"^\t\w[^\n;(]*?\W(\w+)(?:\[\d*\])*;\s+/\*\s+(\d+)\s+\d+ \*/", shown, re.M)
    if not found:
        pytest.skip(f"this pahole cannot show struct {name}")
    assert [(member, vmlinux.offset_of(name, member)) for member, _ in found] == [
        (member, int(offset)) for member, offset in found
    ]


def test_btf_of_modules(tmp_path: Path) -> None:
    base = Builder()
    number = base.integer("int", 4)
    vmlinux = base.load()
    module = Builder(base)
    module.function("kvm_it", number, [("a", number)])
    folder = tmp_path / "sys/kernel/btf"
    folder.mkdir(parents=True)
    (folder / "kvm").write_bytes(module.build())
    found = module_btfs(vmlinux, ["kvm", "kvm_amd"], tmp_path)
    assert list(found) == ["kvm"]
    assert str(found["kvm"].function("kvm_it")) == "int kvm_it(int a)"
    assert module_btfs(vmlinux, ["kvm"], tmp_path / "nowhere") == {}
    (folder / "kvm").write_bytes(b"broken")
    with pytest.raises(BtfError):
        module_btfs(vmlinux, ["kvm"], tmp_path)
