"""A program that tells by itself who called: the truth that names of frames are compared with.

Its functions give their own return address and the line of the call; nothing of ours, nor of what
we look names up with, has a part in that.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.recording.stack_records import LIBC, StackStory
from tracer.capture.stacks.records import File
from tracer.capture.stacks.records import Frame as Recorded
from tracer.record import FrameWhat, StackState
from tracer.stacks.recorded import Frame, Module

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>

extern char __executable_start;
#define KEEP __asm__ volatile("" ::: "memory")
#define NOINLINE __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

static unsigned long base;

NOINLINE static void tell(const char *what, int line, void *address)
{
	printf("%s %d %lx\n", what, line, (unsigned long)address - base);
}

NOINLINE static void *leaf(void) { void *p = __builtin_return_address(0); KEEP; return p; }

NOINLINE static void plain(void)
{
	tell("plain", __LINE__, leaf()); KEEP;
}

INLINE void map_ring(void)
{
	tell("map_ring", __LINE__, leaf()); KEEP;
}

NOINLINE static void outer(void)
{
	printf("outer %d 0\n", __LINE__); map_ring(); KEEP;
}

/* Returns nowhere: the address behind its call is the next function's. */
__attribute__((noreturn, noinline)) static void end(int line)
{
	tell("last", line, __builtin_return_address(0));
	fflush(stdout);
	_Exit(0);
}

NOINLINE static void last(void)
{
	end(__LINE__);
}

NOINLINE static void behind(void) { KEEP; }

int main(int argc, char **argv)
{
	base = argc > 1 ? 0 : (unsigned long)&__executable_start;
	plain();
	outer();
	if (argc > 5)
		behind();
	last();
}
"""


@dataclass(frozen=True)
class Told:
    """A call, as the program tells it."""

    line: int
    offset: int
    """Where it returns to."""


@dataclass(frozen=True)
class Program:
    """A compiled program."""

    path: Path
    build_id: str
    calls: dict[str, Told]

    def module(self, number: int = 1, **other: object) -> Module:
        """As a recording has it."""
        about = os.stat(self.path)
        dev = os.major(about.st_dev) << 20 | os.minor(about.st_dev)
        known = {"dev": dev, "ino": about.st_ino, "size": about.st_size}
        whole = {"raw": os.fsencode(self.path), "build_id": self.build_id, **known, **other}
        return Module(number, **whole)  # type: ignore[arg-type]

    def frame(self, call: str, module: Module | None = None) -> Frame:
        """The frame of one of its calls."""
        return Frame(module or self.module(), self.calls[call].offset)


def compiled(folder: Path, *options: str, name: str = "prog", pie: bool = True) -> Program:
    """Builds it in ``folder`` and runs it once."""
    source, path = folder / f"{name}.c", folder / name
    source.write_text(SOURCE)
    kind = ("-fPIE", "-pie") if pie else ("-fno-pie", "-no-pie")
    flags = ("-g", "-O2", "-fomit-frame-pointer", "-Wl,--build-id=sha1", *kind)
    subprocess.run(["gcc", *flags, *options, "-o", path, source], check=True)
    words = [str(path)] if pie else [str(path), "absolute"]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    told = (line.split() for line in lines)
    calls = {what: Told(int(line), int(offset, 16)) for what, line, offset in told}
    return Program(path, build_id(path), calls)


def build_id(path: Path) -> str:
    """As readelf reads it; empty: it has none."""
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True)
    found = [line.split()[-1] for line in notes.stdout.splitlines() if "Build ID" in line]
    return found[0] if found else ""


def debug_file(program: Program, folder: Path) -> Path:
    """Takes the names out of a program, into a file below ``folder`` as distributions have it."""
    path = folder / ".build-id" / program.build_id[:2] / f"{program.build_id[2:]}.debug"
    path.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", program.path, path], check=True)
    subprocess.run(["strip", program.path], check=True)
    return path


def record(program: Program, path: Path, comm: bytes = b"prog") -> Path:
    """A recording of refused calls that came from a program's functions, as they really lie.

    Three writes came through ``plain``, a fourth through ``map_ring``, and nobody knows whence a
    fifth came.
    """
    story = StackStory()
    story.object(5, "ring")
    about = program.module()
    file = File(about.dev, about.ino, 0, about.size, about.raw)
    story.module(1, file, bytes.fromhex(program.build_id))
    story.module(2, LIBC, bytes.fromhex("ffeeddccbbaa99887766554433221100ffeeddcc"))
    inside = Recorded(2, 0x1018AD, FrameWhat.CODE, True)
    for number, call in ((1, "plain"), (2, "map_ring")):
        story.stack(number, [inside, Recorded(1, program.calls[call].offset, FrameWhat.CODE)])
    refused: dict[str, Any] = {"answer": -1, "length": 8, "seals": 8, "seals_after": 8}
    for stack in (1, 1, 2, 1):
        story.called(stack, "write", 5, 100, comm, **refused)
    story.called(0, "write", 5, 100, comm, state=StackState.LOST, **refused)
    story.event("write", 5, 100, comm, answer=8, length=8)
    return story.write(path)
