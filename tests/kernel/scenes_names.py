"""Who acts: cgroups that live for a moment."""

import json
import subprocess

from tests.kernel.guest_tools import Recorder, Results, python

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
