"""A function and its parameters, as BTF describes them."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.kernel.btf.errors import BtfMissing


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a function.

    ``pointee_struct`` is S for a ``struct S *`` (const, volatile and typedef taken off on both
    sides of the star), else None. ``size`` is in bytes, None for a type of no known size.
    """

    name: str
    type_text: str
    pointee_struct: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Prototype:
    """A function as BTF describes it.

    ``ambiguous`` means that functions of this name with different prototypes exist: the kernel
    takes the first one it finds, so a trampoline program may be checked against one and attached
    to another.
    """

    name: str
    params: tuple[Param, ...]
    returns: str
    variadic: bool
    ambiguous: bool

    def find_pointer(self, struct_name: str) -> int | None:
        """Place (from 0) of the first ``struct struct_name *`` parameter, or None."""
        for place, param in enumerate(self.params):
            if param.pointee_struct == struct_name:
                return place
        return None

    def index_of_pointer(self, struct_name: str) -> int:
        """As `find_pointer`; raises BtfMissing when there is no such parameter."""
        place = self.find_pointer(struct_name)
        if place is None:
            raise BtfMissing(f"{self} has no parameter of type struct {struct_name} *")
        return place

    def __str__(self) -> str:
        items = [declared(param.type_text, param.name) for param in self.params]
        if self.variadic:
            items.append("...")
        return f"{declared(self.returns, self.name)}({', '.join(items) or 'void'})"


def shape(prototype: Prototype) -> tuple[str, bool, tuple[str, ...]]:
    """What two functions must share to be attached to alike; parameter names do not count."""
    types = tuple(param.type_text for param in prototype.params)
    return prototype.returns, prototype.variadic, types


def declared(type_text: str, name: str) -> str:
    blank = "" if type_text.endswith("*") or not name else " "
    return f"{type_text}{blank}{name}"
