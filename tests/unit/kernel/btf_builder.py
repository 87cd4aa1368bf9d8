"""Writes BTF by hand, for tests of what reads it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tracer.kernel.btf import Btf

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
