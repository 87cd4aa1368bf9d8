"""The whole reader: a BTF file, and its functions."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tracer.kernel.btf.ctext import Texts, param_count
from tracer.kernel.btf.errors import BtfError, BtfMissing
from tracer.kernel.btf.format import FUNC_PROTO, FWD, MAX_FILE_BYTES, MAX_NAMESAKES, PTR, STRUCT
from tracer.kernel.btf.prototype import Param, Prototype, shape
from tracer.kernel.btf.sections import cut


class Btf(Texts):
    """The types and functions of one kernel (or of one module on top of its kernel).

    Build it with `from_file` or `from_bytes`. Every method raises BtfError when the file is broken
    at the place it has to read, and BtfMissing when the thing asked for is not there.
    """

    @classmethod
    def from_file(cls, path: str | Path, base: Btf | None = None) -> Btf:
        """Read a BTF file; `base` is the vmlinux Btf when the file is a module's.

        Raises BtfError when the file cannot be read or is broken.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BtfError(f"cannot read {path}: {error.strerror or error}") from error
        if len(data) > MAX_FILE_BYTES:
            raise BtfError(f"{path}: larger than {MAX_FILE_BYTES} bytes, not a kernel's BTF")
        try:
            return cls.from_bytes(data, base)
        except BtfError as error:
            raise BtfError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes, base: Btf | None = None) -> Btf:
        """As `from_file`, for bytes already in memory."""
        return cls(cut(data, split=base is not None), data, base)

    def function_id(self, name: str) -> int:
        """BTF id of the first function of this name, as bpf(2) takes it in attach_btf_id.

        Raises BtfMissing when BTF does not list it.
        """
        ids = self._ids("func", name)
        if not ids:
            raise BtfMissing(f"this kernel's BTF has no function {name}")
        return ids[0]

    def has_function(self, name: str) -> bool:
        """True when BTF lists a function of this name (which does not make it traceable)."""
        return bool(self._ids("func", name))

    def function(self, name: str) -> Prototype:
        """The prototype of a function; a module's own comes before vmlinux's.

        Raises BtfMissing when BTF does not list it.
        """
        ids = self._ids("func", name)
        if not ids:
            raise BtfMissing(f"this kernel's BTF has no function {name}")
        # Copies of one prototype mostly share its type, so few are left to compare
        proto_ids = list(dict.fromkeys(self._prototype_id(name, type_id) for type_id in ids))
        first = self._prototype(name, proto_ids[0])
        wanted = shape(first)
        if len(proto_ids) <= MAX_NAMESAKES and all(
            shape(self._prototype(name, proto_id)) == wanted for proto_id in proto_ids[1:]
        ):
            return first
        return replace(first, ambiguous=True)

    def _prototype_id(self, name: str, func_id: int) -> int:
        words, place = self._locate(func_id)
        proto_id = words[place + 2]
        if self._kind(proto_id) != FUNC_PROTO:
            raise BtfError(f"function {name} refers to type {proto_id}, which is no prototype")
        return proto_id

    def _prototype(self, name: str, proto_id: int) -> Prototype:
        words, place = self._locate(proto_id)
        params: list[Param] = []
        variadic = False
        count = param_count(words[place + 1], proto_id)
        for number in range(count):
            item = place + 3 + 2 * number
            name_offset, type_id = words[item], words[item + 1]
            if type_id == 0 and name_offset == 0 and number == count - 1:
                variadic = True
                continue
            params.append(
                Param(
                    self._name(name_offset),
                    self._text(type_id),
                    self._pointee_struct(type_id),
                    self._size(type_id),
                )
            )
        return Prototype(name, tuple(params), self._text(words[place + 2]), variadic, False)

    def _pointee_struct(self, type_id: int) -> str | None:
        pointer = self._strip(type_id)
        if self._kind(pointer) != PTR:
            return None
        words, place = self._locate(pointer)
        target = self._strip(words[place + 2])
        kind = self._kind(target)
        if kind not in (STRUCT, FWD):
            return None
        words, place = self._locate(target)
        if kind == FWD and words[place + 1] >> 31:  # kind_flag of a FWD says union
            return None
        return self._name(words[place]) or None


@functools.cache
def running_btf() -> Btf:
    """The running kernel's, read once for all who ask. Raises BtfError."""
    return Btf.from_file("/sys/kernel/btf/vmlinux")


def module_btfs(base: Btf, modules: Collection[str], root: str | Path = "/") -> dict[str, Btf]:
    """The BTF of those of the modules that are loaded and have one. Raises BtfError."""
    folder = Path(root) / "sys/kernel/btf"
    return {
        name: Btf.from_file(folder / name, base) for name in modules if (folder / name).exists()
    }
