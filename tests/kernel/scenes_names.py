"""Who acts: cgroups and programs that live for a moment."""

import json
import subprocess

from tests.kernel.guest_tools import Recorder, Results, python
from tests.kernel.scenes_ftrace import BY_FTRACE

BELOW = "/brief.slice"
"""As ``programs/brief_cgroups.py`` has it."""
_ALONE = ("--ops", "create", "--no-self-test")
RECORDED: dict[str, tuple[str, ...]] = {"all": (), "below": ("--cgroup", BELOW)}


def names(results: Results) -> None:
    """The same cgroups twice; the second recorder follows those below a folder that is there."""
    tree = "/sys/fs/cgroup"
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", tree], check=False)  # it may be there
    for name, options in RECORDED.items():
        out = results.out / f"names-{name}.json"
        command = python("brief_cgroups.py", "--out", out)
        Recorder(results, f"names-{name}", *options, *_ALONE, command=command).wait()
        results.tell(f"names-{name}", cgroups=json.loads(out.read_text()))


ACTING: dict[str, tuple[str, ...]] = {
    "fexit": ("--method", "fexit"),
    "kprobe": ("--method", "kprobe"),
    "silent": ("--no-cmdline",),
}
_ACTS = ("--ops", "create,write,exec", "--no-self-test")


def acting(results: Results) -> None:
    """The same programs under each recorder."""
    for name, options in ACTING.items():
        out = results.out / f"acting-{name}.json"
        command = python("brief_tasks.py", "--out", out)
        Recorder(results, f"acting-{name}", *options, *_ACTS, command=command).wait()
        results.tell(f"acting-{name}", tasks=json.loads(out.read_text()))


FILTERED: dict[str, tuple[str, ...]] = {
    "all": (),
    "claims": ("--filter", "vm:web"),
    "unit": ("--filter", "unit:asked.service"),
    "machine": ("--filter", "vm:bank exe:*/qemu-system-*", "--method", "kprobe"),
    "ftrace": BY_FTRACE,
}
"""Recorders of programs/actors.py."""


_WRITES = ("--ops", "create,write", "--no-self-test")


def filtered(results: Results) -> None:
    """The same programs under recorders that are to record some of them."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=False)
    for name, options in FILTERED.items():
        out = results.out / f"filtered-{name}.json"
        # What the kernel does not tell is looked up while they live.
        live = "4" if options == BY_FTRACE else "1"
        command = python("actors.py", "--out", out, "--live", live)
        Recorder(results, f"filtered-{name}", *options, *_WRITES, command=command).wait()
        results.tell(f"filtered-{name}", actors=json.loads(out.read_text()))
