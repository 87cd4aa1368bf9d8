"""What a scan of /proc could not see, said in sentences: an empty answer must not reassure."""

import os
from pathlib import Path

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # include/linux/proc_ns.h: PROC_PID_INIT_INO


def _mount_options(root: Path) -> str:
    """Options of the proc file system at ``root``; empty where none is mounted there."""
    options = ""
    for line in (root / "self" / "mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[4] == str(root):
            options = after.split(" ")[2]
    return options


def _hidden(root: Path) -> list[str]:
    found = []
    try:
        options = _mount_options(root).split(",")
        namespace = os.readlink(root / "self" / "ns" / "pid")
    except OSError:
        return [f"{root} does not tell about itself: processes may be hidden"]
    hiding = [option for option in options if option.startswith(("hidepid=", "subset="))]
    off = {"hidepid=0", "hidepid=off"}
    if set(hiding) - off and os.geteuid() != 0:
        found.append(
            f"{root} is mounted with {','.join(hiding)}: other users' processes are hidden"
        )
    if namespace != _FIRST_PID_NAMESPACE:
        found.append("this is a pid namespace of its own: processes outside of it are not seen")
    return found


def problems(
    root: Path, processes: int, denied_fds: int, denied_maps: int, unknown_seals: int
) -> list[str]:
    """One sentence for each thing that was not seen; empty: everything in /proc was."""
    found = _hidden(root)
    if denied_fds:
        found.append(f"open files of {denied_fds} of {processes} processes not readable")
    if denied_maps:
        found.append(f"mappings of {denied_maps} of {processes} processes not readable")
    if unknown_seals:
        found.append(f"seals of {unknown_seals} memory files not readable")
    if os.geteuid() != 0 and (denied_fds or denied_maps or unknown_seals):
        found[-1] += "; root sees them"
    return found


def silences(processes: int, asked: int, unknown: int) -> list[str]:
    """One sentence for each way in which something did not answer."""
    found = []
    if processes:
        found.append(f"{processes} processes did not tell what they have mapped in time")
    if asked:
        found.append("a file system that may have guest memory did not answer")
    if unknown:
        found.append(f"{unknown} open files are on mounts that no process shows")
    return found
