"""The scene in the guest where refused calls tell who made them."""

import shlex

from tests.kernel.guest_tools import HERE, Recorder, Results
from tests.kernel.scenes_decisions import METHODS

STACKS = {
    "shared": ("-fomit-frame-pointer",),
    "shared-fp": ("-fno-omit-frame-pointer",),
    "static": ("-fomit-frame-pointer", "-static-pie"),
    "static-fp": ("-fno-omit-frame-pointer", "-static-pie"),
}
"""How tests/kernel/programs/stacks.c is built."""
_OPTIONS = (
    "--stacks", "denied", "--no-self-test", "--no-baseline",
    "--ops", "write,mmap,truncate,add_seals",
)  # fmt: skip


def stacks(results: Results) -> None:
    """Each program once by each method: what it, its child, and what that executes are refused."""
    programs = [shlex.quote(str(HERE / "programs" / "build" / f"stacks-{name}")) for name in STACKS]
    command = ["sh", "-c", " && ".join(programs)]
    recorders = [
        Recorder(results, f"stacks-{method}", "--method", method, *_OPTIONS, command=command)
        for method in METHODS
    ]
    for recorder in recorders:
        recorder.wait()
