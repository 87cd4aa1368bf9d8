"""The scenes in the guest where refused calls tell who made them."""

import shlex

from tests.kernel.guest_tools import HERE, Recorder, Results
from tests.kernel.scenes_decisions import METHODS

STACKS = {
    "shared": ("-fomit-frame-pointer", "-g"),
    "shared-fp": ("-fno-omit-frame-pointer",),
    "static": ("-fomit-frame-pointer", "-static-pie"),
    "static-fp": ("-fno-omit-frame-pointer", "-static-pie"),
}
"""How tests/kernel/programs/stacks.c is built."""
BRIEF = "brief"
PROGRAMS = 1000
"""That live for 5 ms, one after the other."""
_ALONE = ("--no-self-test", "--no-baseline")
_OPTIONS = ("--stacks", "denied,kernel", *_ALONE, "--ops", "write,mmap,truncate,add_seals")
_PYTHON = """
import fcntl, os
fd = os.memfd_create("python", os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 4096)
fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xf)
def refused():
    try:
        os.pwrite(fd, b"x", 0)
    except PermissionError:
        return
refused()
"""
_QEMU = (
    "echo quit | qemu-system-x86_64 -M none -accel tcg -S -display none -nodefaults -serial none "
    "-monitor stdio -object memory-backend-memfd,id=ram,size=2M,share=on,seal=on"
)


def built(name: str) -> str:
    """A program as a word of a shell's."""
    return shlex.quote(str(HERE / "programs" / "build" / name))


def stacks(results: Results) -> None:
    """Each program once by each method: what it, its child, and what that executes are refused;
    Debian's Python, as it is; and code that lies in no file, of which a perf map tells."""
    programs = [built(f"stacks-{name}") for name in STACKS]
    python = f"/usr/bin/python3 -c {shlex.quote(_PYTHON)}"
    command = ["sh", "-c", f"{built('jit')} 6 & {' && '.join([*programs, python])} && wait $!"]
    recorders = [
        Recorder(results, f"stacks-{method}", "--method", method, *_OPTIONS, command=command)
        for method in METHODS
    ]
    for recorder in recorders:
        recorder.wait()


def stacks_of_a_thousand(results: Results) -> None:
    """A thousand programs of 5 ms."""
    command = ["sh", "-c", f"{built(f'stacks-{BRIEF}')} {PROGRAMS}"]
    for method in METHODS:
        Recorder(
            results, f"stacks_brief-{method}", "--method", method, "--stacks", "denied",
            *_ALONE, "--ops", "write", command=command,
        ).wait()  # fmt: skip


def stacks_of_qemu(results: Results) -> None:
    """Debian's QEMU, which makes and seals a guest's memory."""
    recorders = [
        Recorder(
            results, f"stacks_qemu-{method}", "--method", method, "--stacks", "all,kernel",
            *_ALONE, "--ops", "create,add_seals", command=["sh", "-c", _QEMU],
        )
        for method in METHODS
    ]  # fmt: skip
    for recorder in recorders:
        recorder.wait()
