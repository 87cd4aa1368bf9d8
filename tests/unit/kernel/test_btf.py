"""The BTF reader on hand-built files: structs, functions, modules on a base."""

from __future__ import annotations

import re
import struct

import pytest

from tests.unit.kernel.btf_builder import INT, PTR, Builder, sample
from tracer.kernel.btf import Btf, Param
from tracer.kernel.btf_file import BtfError, BtfMissing


@pytest.fixture(scope="module")
def btf() -> Btf:
    return sample().load()


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
    with pytest.raises(BtfMissing):
        btf.size_of("enum file")


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
    assert {name: btf.find_enumerator(name) for name in values} == values
    assert btf.find_enumerator("GREEN") is None


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


def test_longer_header_of_a_later_format() -> None:
    data = bytearray(sample().build())
    struct.pack_into("<I", data, 4, 32)
    data[24:24] = bytes(8)
    assert Btf.from_bytes(bytes(data)).offset_of("file", "f_pos") == 24
