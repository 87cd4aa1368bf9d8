"""Our own corner of tracefs: an instance with its own ring, and a group of kprobe events.

Whoever is alive holds a lock (flock) on its instance's folder; the kernel takes it back when the
owner dies, however that happens. So what a killed recorder left is known by a lock that can be
had, in whatever pid namespace it ran, and nobody else's is ever touched. The folder of all
instances is locked while one is made or cleared away.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tracer.errors import UserError
from tracer.kernel.requirements.methods import TRACEFS

_OURS = re.compile(r"sealsnoop-(\d+-\d+)$")
_GROUP = re.compile(r"sealsnoop_(\d+_\d+)$")
_EVENT = re.compile(r"^[pr]\d*:([^/\s]+)/(\S+) ")


def find_tracefs(root: Path = Path("/")) -> Path | None:
    """Where tracefs is mounted, as far as it can be seen."""
    for place in TRACEFS:
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


_LEAST_KB = 64
"""Of each CPU's ring. `tracer.capture.ftrace.program` counts on more than a few pages."""


class Instance:
    """One instance with its events. Close it on every way out."""

    def __init__(self, tracefs: Path, bytes_: int) -> None:
        """Makes it, switched off; what dead recorders left goes first.

        ``bytes_``: of the ring, over all CPUs. Raises UserError where the kernel does not let us.
        """
        self.tracefs = tracefs
        self.cleared: list[str] = []
        """Instances of dead recorders that were cleared away."""
        self.uncleared: dict[str, str] = {}
        """Those that could not be, with the reason."""
        self._lock = -1
        self._pipes: dict[int, int] = {}
        self._misses: dict[str, int] = {}
        self._uncounted: set[str] = set()
        try:
            with alone(tracefs):
                self._clear_leftovers()
                self._make()
            self._set_up(bytes_)
        except OSError as error:
            self.close()
            raise UserError(f"{error.filename or tracefs}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _clear_leftovers(self) -> None:
        for tag in leftovers(self.tracefs):
            try:
                clear(self.tracefs, tag)
                self.cleared.append(tag)
            except OSError as error:
                self.uncleared[tag] = error.strerror or str(error)

    def _make(self) -> None:
        number = 0
        while True:
            self.tag = f"{os.getpid()}-{number}"
            self.folder = self.tracefs / "instances" / f"sealsnoop-{self.tag}"
            self.group = f"sealsnoop_{os.getpid()}_{number}"
            try:
                self.folder.mkdir()
                break
            except FileExistsError:  # another pid namespace's
                number += 1
        # kprobe_profile tells no group, so each event's name ends with what is ours alone.
        self.suffix = f"_{self.tag.replace('-', '_')}"
        self._lock = folder(self.folder)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _set_up(self, bytes_: int) -> None:
        self.pause()
        put(self.folder / "trace_clock", "boot")
        # What finds no room is dropped and counted; what was seen is never written over.
        put(self.folder / "options" / "overwrite", "0")
        self.cpus = sorted(
            int(one.name.removeprefix("cpu")) for one in (self.folder / "per_cpu").iterdir()
        )
        each = bytes_ // 1024 // (os.cpu_count() or 1)  # only those that run have a ring
        put(self.folder / "buffer_size_kb", str(max(_LEAST_KB, each)))
        for cpu in self.cpus:
            path = self.folder / "per_cpu" / f"cpu{cpu}" / "trace_pipe_raw"
            self._pipes[cpu] = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def define(self, definition: str) -> None:
        """Adds a kprobe event (``p:GROUP/NAME PLACE ARGS``). OSError: it was refused."""
        put(self.tracefs / "kprobe_events", definition + "\n")

    def takes(self, definition: str) -> bool:
        """Whether this kernel understands a definition; it is gone again at once."""
        try:
            self.define(definition)
        except OSError:
            return False
        for event in events_of(self.tracefs, self.group):
            self.drop(event)
        return True

    def counts_faults(self, definition: Callable[[str], str], call: Callable[[], object]) -> bool:
        """Whether the kernel counts a fetch that faults as a miss; told by an event that faults.

        ``definition`` makes it, given its name; ``call`` gets there. OSError.
        """
        name = f"fault{self.suffix}"
        self.define(definition(name))
        try:
            self.enable(self.group, name, "common_pid == 0")  # fetched, and never kept
            self.run()  # nothing is fetched for a ring that is off
            call()
            return self._missed().get(name, 0) > 0
        finally:
            self.pause()
            self.drop(name)

    def format(self, group: str, event: str) -> str:
        """The text of an event's format. OSError: there is none."""
        return (self.folder / "events" / group / event / "format").read_text()

    def enable(self, group: str, event: str, condition: str = "") -> None:
        """Switches an event on, filtered in the kernel. OSError."""
        folder = self.folder / "events" / group / event
        if condition:
            put(folder / "filter", condition)
        put(folder / "enable", "1")

    def drop(self, event: str) -> None:
        """Takes one event of our group away again. OSError."""
        enable = self.folder / "events" / self.group / event / "enable"
        if enable.exists():
            put(enable, "0")
        put(self.tracefs / "kprobe_events", f"-:{self.group}/{event}\n")

    def run(self) -> None:
        put(self.folder / "tracing_on", "1")

    def pause(self) -> None:
        put(self.folder / "tracing_on", "0")

    def read(self, cpu: int, size: int) -> bytes:
        """The next page of a CPU's ring, empty where there is none."""
        try:
            return os.read(self._pipes[cpu], size)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return b""  # a CPU that may be plugged in one day has its file already

    def dropped(self, cpu: int) -> int:
        """Events of a CPU that found no room, since the instance was made. OSError."""
        stats = (self.folder / "per_cpu" / f"cpu{cpu}" / "stats").read_text()
        lines = (line.partition(": ") for line in stats.splitlines())
        lost = ("overrun", "commit overrun", "dropped events")
        return sum(int(value) for name, _, value in lines if name in lost)

    def misses(self) -> dict[str, int]:
        """``{event: times}`` that the kernel skipped a probe of our group. OSError."""
        found = self._missed()
        self._misses.update({name: found[name] for name in found.keys() - self._uncounted})
        return self._misses

    def leave_uncounted(self, event: str) -> None:
        """An event's misses are not what they are called, and others stand for it."""
        self._uncounted.add(event)

    def _missed(self) -> dict[str, int]:
        lines = (self.tracefs / "kprobe_profile").read_text().splitlines()
        words = (line.split() for line in lines)
        return {
            one[0]: int(one[2]) for one in words if len(one) == 3 and one[0].endswith(self.suffix)
        }

    def stop(self) -> None:
        """Switches everything off and takes the probes away; what is in the ring stays readable."""
        put(self.folder / "events" / "enable", "0")
        self.misses()  # is told no more once they are gone
        for event in events_of(self.tracefs, self.group):
            put(self.tracefs / "kprobe_events", f"-:{self.group}/{event}\n")

    def close(self) -> None:
        """Leaves nothing behind. What cannot be taken away now is at the next start."""
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes.clear()
        if self._lock < 0:
            return
        with contextlib.suppress(OSError), alone(self.tracefs):
            clear(self.tracefs, self.tag)
        os.close(self._lock)
        self._lock = -1


_SYS_MEMBARRIER = 324  # x86-64
_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for_writers() -> bool:
    """A moment after which nothing that was begun before is still being written into the ring.

    Waits some milliseconds. False where the kernel does not offer it (nohz_full, seccomp).

    A probe writes its event with preemption off (kernel/trace/ring_buffer.c:
    ring_buffer_lock_reserve). membarrier(2) MEMBARRIER_CMD_GLOBAL waits for an RCU grace period,
    which no CPU passes within such a section (kernel/sched/membarrier.c; flavours of RCU are one
    since 4.20). So what has an earlier time than its call is to be read at its return, however
    long a virtual CPU was kept from running.
    """
    result: int = _libc.syscall(_SYS_MEMBARRIER, _CMD_GLOBAL, 0, 0)
    return result == 0
