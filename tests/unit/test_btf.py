"""The BTF reader on hand-built files, on this machine's kernel, and against pahole."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tracer.kernel.btf import Btf, BtfError, BtfMissing, Param, module_btfs

VMLINUX = Path("/sys/kernel/btf/vmlinux")
needs_vmlinux = pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC = range(9, 16)
FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(16, 20)

Member = tuple[str, int, int]


class Builder:
    """Writes BTF. Each method adds one type and returns its id."""

    def __init__(self, base: Builder | None = None) -> None:
        self.first_string = base.end_string if base else 0
        self.next_id: int = base.next_id if base else 1
        self.strings = b"" if base else b"\0"
        self.types = b""

    @property
    def end_string(self) -> int:
        return self.first_string + len(self.strings)

    def text(self, name: str) -> int:
        if not name:
            return 0
        offset = self.end_string
        self.strings += name.encode() + b"\0"
        return offset

    def add(
        self,
        kind: int,
        name: str = "",
        third: int = 0,
        *,
        vlen: int = 0,
        flag: bool = False,
        rest: Sequence[int] = (),
    ) -> int:
        info = kind << 24 | vlen | flag << 31
        words = (self.text(name), info, third, *rest)
        self.types += struct.pack(f"<{len(words)}I", *words)
        self.next_id += 1
        return self.next_id - 1

    def integer(self, name: str, size: int, bits: int | None = None) -> int:
        return self.add(INT, name, size, rest=[bits or 8 * size])

    def composite(
        self,
        name: str,
        size: int,
        members: Sequence[Member],
        kind: int = STRUCT,
        flag: bool = False,
    ) -> int:
        rest = [word for item in members for word in (self.text(item[0]), item[1], item[2])]
        return self.add(kind, name, size, vlen=len(members), flag=flag, rest=rest)

    def function(self, name: str, returns: int, params: Sequence[tuple[str, int]]) -> int:
        rest = [word for item in params for word in (self.text(item[0]), item[1])]
        proto = self.add(FUNC_PROTO, "", returns, vlen=len(params), rest=rest)
        return self.add(FUNC, name, proto, vlen=1)

    def build(self) -> bytes:
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings)
        )
        return header + self.types + self.strings

    def load(self, base: Btf | None = None) -> Btf:
        return Btf.from_bytes(self.build(), base)


def sample() -> Builder:
    """A file with one type of each kind, shaped like the kernel's own."""
    b = Builder()
    u32 = b.integer("unsigned int", 4)  # 1
    u64 = b.integer("long unsigned int", 8)
    void_pointer = b.add(PTR)
    path = b.composite("path", 16, [("mnt", void_pointer, 0), ("dentry", void_pointer, 64)])
    const_path = b.add(CONST, "", path)
    anonymous = b.composite("", 16, [("f_path", const_path, 0), ("__f_path", path, 0)], UNION)
    inner = b.composite("", 24, [("", anonymous, 0), ("f_pos", u64, 128)])
    const_inner = b.add(CONST, "", inner)
    numbers = b.add(ARRAY, rest=[u32, u32, 6])
    file = b.composite(
        "file", 64, [("f_mode", u32, 0), ("", const_inner, 64), ("f_numbers", numbers, 256)]
    )
    b.composite(
        "flags",
        8,
        [("low", u32, 3 << 24), ("high", u32, 5 << 24 | 3), ("whole", u32, 32)],
        flag=True,
    )
    const_file = b.add(CONST, "", file)
    file_t = b.add(TYPEDEF, "file_t", const_file)
    file_pointer = b.add(PTR, "", b.add(VOLATILE, "", file_t))
    pointer_t = b.add(TYPEDEF, "file_ptr_t", file_pointer)
    hidden = b.add(PTR, "", b.add(FWD, "hidden"))
    hidden_union = b.add(PTR, "", b.add(FWD, "hidden_union", flag=True))
    restrict = b.add(RESTRICT, "", b.add(PTR, "", b.add(TYPE_TAG, "user", u64)))
    callback = b.add(PTR, "", b.add(FUNC_PROTO, "", u32, vlen=2, rest=[0, u64, 0, 0]))
    b.function(
        "shmem_write_begin",
        u32,
        [("kiocb", hidden), ("union", hidden_union), ("file", pointer_t), ("buf", restrict)],
    )
    b.function("call", 0, [("how", callback), ("many", b.add(PTR, "", hidden)), ("", 0)])
    b.function("nothing", 0, [])
    b.add(ENUM, "colour", 4, vlen=2, rest=[b.text("RED"), 7, b.text("BLUE"), 0xFFFFFFFF])
    b.add(ENUM, "sign", 4, vlen=1, flag=True, rest=[b.text("MINUS"), 0xFFFFFFFF])
    b.add(ENUM64, "wide", 8, vlen=1, rest=[b.text("WIDE"), 1, 2])
    b.add(ENUM64, "deep", 8, vlen=1, flag=True, rest=[b.text("DEEP"), 0xFFFFFFFE, 0xFFFFFFFF])
    b.add(FLOAT, "double", 8)
    variable = b.add(VAR, "jiffies", u64, rest=[1])
    b.add(DATASEC, ".data", 8, vlen=1, rest=[variable, 0, 8])
    b.add(DECL_TAG, "tag", file, rest=[0xFFFFFFFF])
    return b


@pytest.fixture(scope="module")
def btf() -> Btf:
    return sample().load()


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.from_file(VMLINUX)


# ---- structs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "member", "offset"),
    [
        ("file", "f_mode", 0),
        ("file", "f_path", 8),
        ("file", "f_path.dentry", 16),
        ("struct file", "__f_path.mnt", 8),
        ("file", "f_pos", 24),
        ("file", "f_numbers", 32),
        ("file_t", "f_pos", 24),
        ("flags", "whole", 4),
    ],
)
def test_offset_of(btf: Btf, name: str, member: str, offset: int) -> None:
    assert btf.offset_of(name, member) == offset
    assert btf.has_member(name, member)


@pytest.mark.parametrize(
    ("name", "member", "message"),
    [
        ("file", "nope", "struct file has no member nope"),
        (
            "file",
            "f_path.nope",
            "struct file has no member f_path.nope (nothing named nope in file.f_path)",
        ),
        ("file", "f_mode.x", "file.f_mode is no struct or union, so it has no member x"),
        ("inode", "i_ino", "this kernel's BTF has no type inode"),
        ("union file", "f_mode", "this kernel's BTF has no type union file"),
        ("file", "", "'' is not a member path"),
        ("file", "f_path.", "'f_path.' is not a member path"),
    ],
)
def test_missing_member(btf: Btf, name: str, member: str, message: str) -> None:
    with pytest.raises(BtfMissing) as caught:
        btf.offset_of(name, member)
    assert str(caught.value) == message
    assert not btf.has_member(name, member)


@pytest.mark.parametrize("member", ["low", "high"])
def test_bitfield_has_no_offset(btf: Btf, member: str) -> None:
    with pytest.raises(BtfError, match=f"flags.{member} is a bitfield") as caught:
        btf.offset_of("flags", member)
    assert not isinstance(caught.value, BtfMissing)
    assert btf.has_member("flags", member)


def test_bitfield_written_the_old_way() -> None:
    b = Builder()
    three_bits = b.integer("unsigned int", 4, bits=3)
    b.composite("old", 4, [("bits", three_bits, 0)])
    with pytest.raises(BtfError, match="bits is a bitfield"):
        b.load().offset_of("old", "bits")


def test_sizes(btf: Btf) -> None:
    sizes = {
        "struct file": 64,
        "file_t": 64,
        "file_ptr_t": 8,
        "unsigned int": 4,
        "double": 8,
        "enum wide": 8,
        "colour": 4,
    }
    assert {name: btf.size_of(name) for name in sizes} == sizes
    assert btf.member_size("file", "f_numbers") == 24
    assert btf.member_size("file", "f_path") == 16
    with pytest.raises(BtfMissing):
        btf.size_of("enum file")
    assert btf.has_type("unsigned int")
    assert not btf.has_type("")


def test_structs_of_one_name() -> None:
    b = Builder()
    u32 = b.integer("int", 4)
    b.composite("same", 8, [("a", u32, 0), ("b", u32, 32)])
    b.composite("same", 8, [("a", u32, 0), ("b", u32, 0), ("c", u32, 32)])
    btf = b.load()
    assert btf.offset_of("same", "a") == 0  # both agree
    for member in ("b", "c"):
        with pytest.raises(BtfError, match=f"same.{member} is ambiguous"):
            btf.offset_of("same", member)


def test_enum_values(btf: Btf) -> None:
    values = {"RED": 7, "BLUE": 0xFFFFFFFF, "MINUS": -1, "WIDE": 0x200000001, "DEEP": -2}
    assert {name: btf.enum_value(name) for name in values} == values
    with pytest.raises(BtfMissing, match="no enumerator GREEN"):
        btf.enum_value("GREEN")


# ---- functions ------------------------------------------------------------------------------


def test_prototype(btf: Btf) -> None:
    proto = btf.function("shmem_write_begin")
    assert proto.params == (
        Param("kiocb", "struct hidden *", "hidden", 8),
        Param("union", "union hidden_union *", None, 8),
        Param("file", "file_ptr_t", "file", 8),
        Param("buf", "long unsigned int *restrict", None, 8),
    )
    assert proto.returns == "unsigned int"
    assert proto.index_of_pointer("file") == 2
    assert proto.find_pointer("dentry") is None
    with pytest.raises(BtfMissing, match="no parameter of type struct dentry"):
        proto.index_of_pointer("dentry")
    assert not proto.ambiguous
    assert str(proto) == (
        "unsigned int shmem_write_begin(struct hidden *kiocb, union hidden_union *union, "
        "file_ptr_t file, long unsigned int *restrict buf)"
    )


def test_function_pointers_and_varargs(btf: Btf) -> None:
    proto = btf.function("call")
    assert proto.variadic
    assert str(proto) == (
        "void call(unsigned int (*)(long unsigned int, ...) how, struct hidden **many, ...)"
    )
    assert proto.params[1].pointee_struct is None
    assert str(btf.function("nothing")) == "void nothing(void)"


def test_missing_function(btf: Btf) -> None:
    assert btf.has_function("call")
    assert not btf.has_function("file")
    with pytest.raises(BtfMissing, match="no function shmem_mmap"):
        btf.function("shmem_mmap")


@pytest.mark.parametrize(("second", "ambiguous"), [("int", False), ("pointer", True)])
def test_functions_of_one_name(second: str, ambiguous: bool) -> None:
    b = Builder()
    types = {"int": b.integer("int", 4), "pointer": b.add(PTR)}
    first_id = b.function("twice", 0, [("a", types["int"])])
    b.function("twice", 0, [("other_name", types[second])])
    proto = b.load().function("twice")
    assert proto.ambiguous is ambiguous
    assert proto.params[0].type_text == "int"
    assert b.load().function_id("twice") == first_id


# ---- split BTF ------------------------------------------------------------------------------


def test_split() -> None:
    lower = Builder()
    u32 = lower.integer("int", 4)
    file = lower.composite("file", 8, [("f_mode", u32, 32)])
    file_pointer = lower.add(PTR, "", file)
    lower.function("shared", 0, [("a", u32)])
    upper = Builder(lower)
    own = upper.composite("kvm_gmem", 16, [("file", file_pointer, 64), ("inner", file, 0)])
    upper.function(
        "kvm_gmem_release", u32, [("file", file_pointer), ("g", upper.add(PTR, "", own))]
    )
    upper.function("shared", 0, [("a", file_pointer)])
    # a module's type may be named by a string of vmlinux
    name_in_base = lower.strings.index(b"f_mode\0")
    upper.types += struct.pack("<4I", name_in_base, INT << 24, 2, 16)

    base = lower.load()
    module = upper.load(base)
    assert module.offset_of("kvm_gmem", "file") == 8
    assert module.offset_of("kvm_gmem", "inner.f_mode") == 4
    assert module.offset_of("file", "f_mode") == 4
    assert module.size_of("f_mode") == 2
    assert str(module.function("kvm_gmem_release")) == (
        "int kvm_gmem_release(struct file *file, struct kvm_gmem *g)"
    )
    assert module.function("shared").ambiguous
    assert module.function("shared").params[0].pointee_struct == "file"
    assert not base.has_function("kvm_gmem_release")
    assert module.type_count == upper.next_id + 1
    with pytest.raises(BtfError):
        Btf.from_bytes(upper.build())  # without its base


def test_digest_names_the_file(btf: Btf) -> None:
    data = sample().build()
    assert btf.digest == Btf.from_bytes(data).digest
    assert btf.digest != Btf.from_bytes(data + b"\0").digest
    assert re.fullmatch("[0-9a-f]{64}", btf.digest)


# ---- broken files ---------------------------------------------------------------------------


def patched(place: int, code: str, value: int) -> bytes:
    data = bytearray(sample().build())
    struct.pack_into(code, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes, no BTF header"),
        (b"\x9f\xeb\x01\x00\x18", "truncated: 5 bytes, the header alone takes 24"),
        (b"\xeb\x9f\x01\x00" + bytes(20), "big-endian BTF"),
        (b"\x7fELF" + bytes(40), "not BTF: it begins with 0x457f"),
        (patched(2, "<B", 2), "BTF version 2"),
        (patched(4, "<I", 8), "header length 8 does not fit"),
        (patched(4, "<I", 0xFFFFFFFF), "header length 4294967295 does not fit"),
        (patched(12, "<I", 0xFFFFFFFC), "the type section needs bytes 0 to 4294967292"),
        (patched(16, "<I", 0xFFFFFFFF), "the string section needs bytes 4294967295"),
        (patched(12, "<I", 14), "not aligned to 4 bytes"),
        (patched(12, "<I", 12), "ends in the middle of a type"),
        (patched(20, "<I", 0), "there are no strings"),
        (sample().build()[:-1], "the string section needs"),
        (patched(28, "<I", 20 << 24), "type 1 is of unknown kind 20"),
        (patched(28, "<I", 0), "type 1 is of unknown kind 0"),
        (patched(28, "<I", STRUCT << 24 | 0xFFFF), "ends in the middle of a type"),
        (patched(24, "<I", 0xFFFFFF), "string offset 16777215 is out of bounds"),
    ],
)
def test_broken_file(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=re.escape(message)):
        Btf.from_bytes(data)


def test_string_section_ends() -> None:
    for strings, message in (
        (b"\0abc", "does not end with a NUL"),
        (b"a\0", "does not begin with"),
    ):
        b = Builder()
        b.strings = strings
        with pytest.raises(BtfError, match=message):
            b.load()


def test_endless_name() -> None:
    b = Builder()
    b.integer("x" * 512, 4)
    with pytest.raises(BtfError, match="over 512 bytes long"):
        b.load()


def cyclic_typedef(b: Builder) -> Callable[[Btf], object]:
    b.add(TYPEDEF, "loop", b.next_id + 1)
    b.add(CONST, "", b.next_id - 1)
    return lambda btf: btf.size_of("loop")


def cyclic_array(b: Builder) -> Callable[[Btf], object]:
    b.add(TYPEDEF, "loop", b.next_id + 1)
    b.add(ARRAY, rest=[b.next_id - 1, 0, 0xFFFFFFFF])
    return lambda btf: btf.size_of("loop")


def struct_in_itself(b: Builder) -> Callable[[Btf], object]:
    b.composite("self", 8, [("", b.next_id, 0), ("", b.next_id, 64)])
    return lambda btf: btf.offset_of("self", "x")


def cyclic_pointer(b: Builder) -> Callable[[Btf], object]:
    loop = b.add(PTR, "", b.next_id)
    b.function("f", loop, [("a", loop)])
    return lambda btf: btf.function("f")


def type_out_of_range(b: Builder) -> Callable[[Btf], object]:
    b.composite("s", 8, [("a", 0x7FFFFFFF, 0)])
    return lambda btf: btf.offset_of("s", "a")


def function_without_prototype(b: Builder) -> Callable[[Btf], object]:
    b.add(FUNC, "f", b.integer("int", 4))
    return lambda btf: btf.function("f")


def too_many_params(b: Builder) -> Callable[[Btf], object]:
    b.function("f", 0, [("", 0)] * 65)
    return lambda btf: btf.function("f")


def member_past_the_end(b: Builder) -> Callable[[Btf], object]:
    b.composite("s", 4, [("a", b.integer("int", 4), 0x10000)])
    return lambda btf: btf.offset_of("s", "a")


def member_name_out_of_bounds(b: Builder) -> Callable[[Btf], object]:
    b.add(STRUCT, "s", 4, vlen=1, rest=[0xFFFFFF, 1, 0])
    return lambda btf: btf.offset_of("s", "a")


@pytest.mark.parametrize(
    "make",
    [
        cyclic_typedef,
        cyclic_array,
        struct_in_itself,
        cyclic_pointer,
        type_out_of_range,
        function_without_prototype,
        too_many_params,
        member_past_the_end,
        member_name_out_of_bounds,
    ],
)
def test_broken_types(make: Callable[[Builder], Callable[[Btf], object]]) -> None:
    b = Builder()
    ask = make(b)
    btf = b.load()
    with pytest.raises(BtfError):
        ask(btf)


def test_prototype_in_itself_is_cut_short() -> None:
    b = Builder()
    b.function("f", b.next_id, [("a", b.next_id)])
    assert b.load().function("f").returns == "... ()(...) ()(... ()(...))"


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="nowhere: No such file"):
        Btf.from_file(tmp_path / "nowhere")
    with pytest.raises(BtfError, match="Is a directory"):
        Btf.from_file(tmp_path)
    (tmp_path / "short").write_bytes(b"\x9f\xeb")
    with pytest.raises(BtfError, match="short: truncated: 2 bytes"):
        Btf.from_file(tmp_path / "short")


def test_longer_header_of_a_later_format() -> None:
    data = bytearray(sample().build())
    struct.pack_into("<I", data, 4, 32)
    data[24:24] = bytes(8)
    assert Btf.from_bytes(bytes(data)).offset_of("file", "f_pos") == 24


# ---- this machine's kernel ------------------------------------------------------------------


@needs_vmlinux
def test_vmlinux_has_what_the_hooks_need(vmlinux: Btf) -> None:
    assert vmlinux.offset_of("qstr", "name") == 8
    assert vmlinux.has_member("file", "f_inode")
    assert vmlinux.function("vm_mmap_pgoff").find_pointer("file") == 0
    assert len(vmlinux.function("vm_mmap_pgoff").params) == 6
    # KERNEL.md section 3: a1 on every kernel, whatever a0 is
    assert vmlinux.function("shmem_write_begin").index_of_pointer("address_space") == 1
    assert vmlinux.enum_value("BPF_MAP_TYPE_RINGBUF") == 27


@needs_vmlinux
def test_vmlinux_loads_fast(vmlinux: Btf) -> None:
    start = time.perf_counter()
    count = Btf.from_file(VMLINUX).type_count
    # 0.08 s for 126,000 types when idle; generous, as this runs beside other work
    assert time.perf_counter() - start < 1e-5 * count + 0.5


@pytest.mark.slow
@needs_vmlinux
def test_every_vmlinux_function_resolves(vmlinux: Btf) -> None:
    names = [name.decode() for name in vmlinux._names["func"]]
    assert len(names) > 10_000
    for name in names:
        assert str(vmlinux.function(name))


@needs_vmlinux
@pytest.mark.skipif(shutil.which("pahole") is None, reason="pahole is not installed")
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
