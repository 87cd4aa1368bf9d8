"""Tracefs: whose corner of it is whose, and clearing away what the dead left.

Whoever is alive holds a lock (flock) on its instance's folder; the kernel takes it back when the
owner dies, however that happens. So what a killed recorder left is known by a lock that can be
had, in whatever pid namespace it ran, and nobody else's is ever touched. The folder of all
instances is locked while one is made or cleared away.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

PLACES = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_OURS = re.compile(r"sealsnoop-(\d+-\d+)$")
_GROUP = re.compile(r"sealsnoop_(\d+_\d+)$")
_EVENT = re.compile(r"^[pr]\d*:([^/\s]+)/(\S+) ")


def find_tracefs(root: Path = Path("/")) -> Path | None:
    """Where tracefs is mounted, as far as it can be seen."""
    for place in PLACES:
        with contextlib.suppress(OSError):
            if (root / place / "instances").is_dir():
                return root / place
    return None


def put(path: Path, text: str) -> None:
    """Writes a control file at its end: kprobe_events is cleared when opened otherwise.

    OSError: the kernel did not take it.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def alone(tracefs: Path) -> Iterator[None]:
    """Nobody else makes or clears instances meanwhile."""
    fd = folder(tracefs / "instances")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def events_of(tracefs: Path, group: str) -> list[str]:
    """The kprobe events of a group. OSError."""
    lines = (tracefs / "kprobe_events").read_text().splitlines()
    found = (_EVENT.match(line) for line in lines)
    return [one[2] for one in found if one and one[1] == group]


def clear(tracefs: Path, tag: str) -> None:
    """Switches off and takes away one instance and its group, as far as they are there. OSError.

    The instance goes last: whatever is left when this is cut short is found by it again.
    """
    place, group = tracefs / "instances" / f"sealsnoop-{tag}", f"sealsnoop_{tag.replace('-', '_')}"
    if place.is_dir():
        put(place / "tracing_on", "0")
        put(place / "events" / "enable", "0")
    for event in events_of(tracefs, group):
        put(tracefs / "kprobe_events", f"-:{group}/{event}\n")
    if place.is_dir():
        place.rmdir()


def leftovers(tracefs: Path) -> list[str]:
    """Tags of instances whose owner is dead, and of groups without an instance.

    Only right while nobody makes one.
    """
    dead, seen = [], set()
    for one in sorted((tracefs / "instances").iterdir()):
        found = _OURS.match(one.name)
        if not found:
            continue
        seen.add(found[1])
        fd = folder(one)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            dead.append(found[1])
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
    lines = (tracefs / "kprobe_events").read_text().splitlines()
    groups = {event[1] for line in lines if (event := _EVENT.match(line))}
    for group in sorted(groups):
        found = _GROUP.match(group)
        if found and (tag := found[1].replace("_", "-")) not in seen:
            dead.append(tag)
    return dead
