"""A recording with two virtual machines whose memory is converted, for pictures and keys."""

import random
from pathlib import Path
from typing import Any

from tests.unit.audit.audit_story import Story
from tracer.record import Kind

PAGE, PAGES, AT, HOST = 4096, 1024, 0x100000, 0x7F0000000000
FILES = {77: (10, 11), 78: (20, 21)}
"""By machine: its shared memfd and its guest_memfd."""
PIDS = {77: 100, 78: 200}
CONVERSIONS = 300


class Guests(Story):
    """Two VMMs, of which one converts much and maps its memory in a child, too."""

    def __init__(self, name: str = "ram", comm: bytes = b"qemu-system-x86") -> None:
        super().__init__()
        self.names: dict[str, Any] = {"comm": comm}
        self.taken = dict.fromkeys(FILES, 0)
        for vm in FILES:
            self.begin(vm, name)

    def begin(self, vm: int, name: str) -> None:
        (ram, gmem), pid = FILES[vm], PIDS[vm]
        self.create(ram, name, pid=pid, **self.names)
        self.create(gmem, "[kvm-gmem]", pid=pid, kind=Kind.GUEST_MEMFD, **self.names)
        self.map(ram, pid, HOST, length=PAGES * PAGE, **self.names)
        for slot, (first, pages) in enumerate(((0, 256), (256, PAGES - 256))):
            self.memslot(gmem, pid, HOST + first * PAGE, kind=Kind.GUEST_MEMFD, fd=4, checks=4,
                         arg=AT + (first << 12) + slot * 0x10000000, offset=first * PAGE,
                         length=pages * PAGE, vm=vm, file_answer=2, check_answer=slot + 1,
                         **self.names)  # fmt: skip

    def convert(self, vm: int, first: int, pages: int, private: bool, **more: Any) -> None:
        self.taken[vm] += 1
        at = AT + first * PAGE + (0x10000000 if first >= 256 else 0)
        values = {"offset": at, "length": pages * PAGE, "arg": 8 if private else 0, "vm": vm,
                  "checks": 1, "check_answer": self.taken[vm], "file_answer": 2,
                  "size_after": self.now_ns + 1_000_000, **self.names, **more}  # fmt: skip
        self.event("convert", 0, PIDS[vm], kind=Kind.UNKNOWN, **values)

    def refuse(self, vm: int) -> None:
        self.taken[vm] -= 1
        self.convert(vm, 0, 1, True, checks=0, answer=-22)

    def play(self) -> "Guests":
        """All becomes private, some of it shared again; and one call is refused."""
        chosen = random.Random(5)
        for vm in FILES:
            self.convert(vm, 0, 256, private=True)
        for _ in range(CONVERSIONS):
            first = chosen.randrange(PAGES)
            room = (256 if first < 256 else PAGES) - first
            self.convert(77, first, min(room, chosen.randrange(1, 200)), chosen.random() < 0.6)
        self.refuse(77)
        ram = FILES[77][0]
        self.map(ram, 101, HOST, length=PAGES * PAGE, comm=b"vhost-user-blk")
        self.event("punch_hole", ram, 100, offset=0, length=64 * PAGE, answer=0, **self.names)
        return self

    def keep(self, folder: Path, name: str = "guests.seal") -> Path:
        return self.write(folder / name, audit=True)
