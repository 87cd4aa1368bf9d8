"""The process that looks names up: ``python -m tracer.stacks.lookup FD``, started by ``names``.

It gets descriptors over a socket and answers with names. What is in those files is whatever a
traced program, or who made a recording, put there, and drgn reads it in C: so it does that where
there is nothing to take (``sandbox``), and whoever asked believes none of the answer.

A message is four bytes of length and JSON; files come with a request's first byte.
"""

import ctypes
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

from tracer.stacks import sandbox

BYTES = 1 << 22
"""Of a message, at most."""
ADDRESSES = 256
"""Of a request."""
FILES = 2
_MEMORY = 10 << 30
_SECONDS = 600
_INLINED = 64
"""Functions that one address may be in."""
_TEXT = 1 << 10
"""Characters of a name: C++ has longer ones, which nobody reads."""


def send(sock: socket.socket, message: Any, fds: list[int] | None = None) -> None:
    """One message. OSError."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(4, "little") + data
    sent = socket.send_fds(sock, [data], fds) if fds else 0
    if sent < len(data):  # nothing at all is an error too, once it has answered and gone
        sock.sendall(data[sent:])


def receive(sock: socket.socket, fds: list[int] | None = None) -> Any:
    """One message, None at the end; files that come with it are put into ``fds``.

    OSError, ValueError: it is none.
    """
    if fds is None:
        head = sock.recv(4)
    else:
        head, found, _, _ = socket.recv_fds(sock, 4, FILES)
        fds += found
    if not head:
        return None
    head += _exactly(sock, 4 - len(head))
    length = int.from_bytes(head, "little")
    if length > BYTES:
        raise ValueError("a message that is too long")
    return json.loads(_exactly(sock, length))


def _exactly(sock: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = sock.recv(min(count - len(found), 1 << 16))
        if not part:
            raise OSError("the other end is gone")
        found += part
    return bytes(found)


def _demangler() -> Callable[[str], str]:
    """What makes ``ns::fn(int)`` of ``_ZN2ns2fnEi``, if there is the library of C++."""
    try:
        libcxx = ctypes.CDLL("libstdc++.so.6")
        demangle, free = libcxx.__cxa_demangle, ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return lambda name: name
    demangle.restype = ctypes.c_void_p
    free.argtypes = [ctypes.c_void_p]

    def readable(name: str) -> str:
        if not name.startswith("_Z"):
            return name
        status = ctypes.c_int()
        made = demangle(name.encode(errors="replace"), None, None, ctypes.byref(status))
        if not made:
            return name
        text = ctypes.string_at(made).decode(errors="replace")
        free(made)
        return text

    return readable


class _Module:
    """One ELF file with what belongs to it, in an address space of its own."""

    def __init__(self, drgn: Any, low: int, high: int) -> None:
        self._drgn = drgn
        # Names and lines read alike on all machines of 64 bits, little-endian.
        self._program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        self._program.set_enabled_debug_info_finders([])
        self._module = self._program.extra_module("file", 0, create=True)
        self._module.address_ranges = [(low, high)]

    def add(self, fd: int) -> None:
        """Takes a file: the module's own, its debug file, or a supplementary one."""
        self._module.try_file("file", fd=fd, force=True)

    @property
    def lines(self) -> bool:
        """It has debug information."""
        have: bool = self._module.debug_file_status == self._drgn.ModuleFileStatus.HAVE
        return have

    @property
    def wants(self) -> list[str] | None:
        """Path and build id of the file that its debug file shares with others, if that lacks."""
        wanted = self._drgn.ModuleFileStatus.WANT_SUPPLEMENTARY
        if self._module.debug_file_status != wanted:
            return None
        found = self._module.wanted_supplementary_debug_file()
        return [os.fsdecode(found.supplementary_path), found.checksum.hex()]

    def places(self, address: int, readable: Callable[[str], str]) -> list[list[Any]]:
        """Function, file and line, those of inlined functions first."""
        try:
            symbol = self._program.symbol(address).name
        except Exception:  # whatever a library says of a file that somebody made
            symbol = ""
        found: list[list[Any]] = []
        try:
            for one in list(self._program.source_location(address))[:_INLINED]:
                name = one.name() if callable(one.name) else one.name
                found.append([(name or "")[:_TEXT], (one.filename or "")[:_TEXT], one.line or 0])
        except Exception:
            found = []
        whole = readable(symbol)[:_TEXT] if symbol else ""
        if not found and whole:
            found = [[whole, "", 0]]
        elif found and whole and (whole != symbol or not found[-1][0]):
            found[-1][0] = whole  # DWARF has no namespaces in a name, the symbol has
        return found


def _serve(sock: socket.socket, drgn: Any, readable: Callable[[str], str]) -> None:
    modules: dict[int, _Module] = {}
    while True:
        fds: list[int] = []
        asked = receive(sock, fds)
        if asked is None:
            return
        number = asked["module"]
        try:
            if number not in modules:
                modules[number] = _Module(drgn, asked["low"], asked["high"])
            module = modules[number]
            while fds:
                module.add(fds.pop(0))
            places = [module.places(one, readable) for one in asked["addresses"]]
            answer: dict[str, Any] = {"places": places}
            answer |= {"wants": module.wants, "lines": module.lines}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:_TEXT]}
        for fd in fds:
            os.close(fd)
        send(sock, answer)


def main() -> int:
    """Answers until nobody asks any more."""
    import drgn

    with socket.socket(fileno=int(sys.argv[1])) as sock:
        readable = _demangler()
        sandbox.drop(strict=False)
        sandbox.confine(_MEMORY, {resource.RLIMIT_CPU: _SECONDS})
        send(sock, {"ready": True})
        _serve(sock, drgn, readable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
