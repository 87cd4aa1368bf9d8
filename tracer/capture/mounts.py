"""Which mounts hold memory files, told by /proc alone: no other file system is ever asked anything.

A file system that does not answer (NFS without its server, FUSE of a program that sleeps) holds
whoever asks it in state D, where no signal reaches. statfs, stat and open ask it, even a path that
leads to it may. What asks nobody: the text and the mount id of a descriptor (/proc/PID/fd,
/proc/PID/fdinfo), mappings (/proc/PID/maps), and mount tables (/proc/PID/mountinfo). A mount id
belongs to one mount as long as something holds that; so a file is held by O_PATH, which opens
nothing, then its mount is looked at, and only then the file. In between its user may have put
another one under the same number.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracer.capture import inode

_TYPES = {b"tmpfs": inode.TMPFS_MAGIC, b"hugetlbfs": inode.HUGETLBFS_MAGIC}
OTHER = 0
"""No file system of memory files."""
_KERNELS_OWN = b"anon_inode:"
"""No path on a file system begins so (fs/d_path.c: those begin with a slash or in brackets)."""
_OWN_MOUNT = (b"/[kvm-gmem] (deleted)", b"/[guest_memfd] (deleted)")
"""Where guest_memfd has a file system of its own (since 6.19) nothing of it is in a mount table."""
_NO_FILES = (b"/dev/", b"/dmabuf:")
"""Devices are opened before anything is mounted, and buffers are on a mount of the kernel's own."""
_ASK_S = 2.0


class Mounts:
    """Mount id → magic number of the file system. ``internal``: of the kernel's own mounts."""

    def __init__(self, proc: Path, internal: dict[int, tuple[int, int]] | None = None) -> None:
        """``internal``: mount id → device and magic number; None: as this kernel has it."""
        self._proc = proc
        self._internal = inode.internal_mounts() if internal is None else internal
        self.internal = dict(self._internal.values())
        """Device → magic number."""
        self._devices: dict[int, int] = dict(self.internal)
        self._mounts: dict[int, tuple[int, str]] = {}
        """Mount id → magic number, and in whose table it was."""
        self._tables: set[tuple[str, str]] = set()
        self._missed: set[int] = set()
        self._asked = False
        self.silent = 0
        """File systems that were asked in a process of its own, and did not answer."""
        self.unknown = 0
        """Descriptors on mounts that are in nobody's table."""
        for pid in ("self", "1"):
            self.learn(pid)

    def learn(self, pid: int | str) -> None:
        """Reads the mount table of ``pid``, if none with its namespace and root was read before."""
        folder = f"{self._proc}/{pid}"
        try:
            key = os.readlink(f"{folder}/ns/mnt"), os.readlink(f"{folder}/root")
        except OSError:
            key = str(pid), ""
        if key not in self._tables:
            self._tables.add(key)
            self._read(str(pid))

    def _read(self, pid: str) -> None:
        for number, dev, magic in self._table(pid):
            self._mounts[number] = magic, pid
            self._devices.setdefault(dev, magic)

    def _table(self, pid: str) -> Iterator[tuple[int, int, int]]:
        """Mount id, device and magic number of each mount that ``pid`` sees."""
        with suppress(OSError):
            for line in (self._proc / pid / "mountinfo").read_bytes().splitlines():
                before, _, after = line.partition(b" - ")
                number, _, device, _ = before.split(b" ", 3)
                major, _, minor = device.partition(b":")
                kind = after.split(b" ", 1)[0]
                yield int(number), int(major) << 20 | int(minor), _TYPES.get(kind, OTHER)

    def of_descriptor(self, tid: int, fd: int, link: bytes) -> int | None:
        """Magic number of where a descriptor leads, OTHER, or None: no table has that mount.

        OSError: it is closed.
        """
        if link.startswith(_KERNELS_OWN):
            return inode.ANON_INODE_FS_MAGIC
        number = inode.mount_id(f"{self._proc}/{tid}/fdinfo/{fd}")
        if number in self._internal:
            return self._internal[number][1]
        if number not in self._mounts and tid not in self._missed:
            self._missed.add(tid)  # it was mounted since, or is in a table of its own
            self._read(str(tid))
        if number in self._mounts:
            return self._mounts[number][0]
        if link in _OWN_MOUNT and not self._asked:
            self._asked = True
            with suppress(OSError):
                self._ask(f"{self._proc}/{tid}/fd/{fd}", number)
        if number in self._internal:
            return self._internal[number][1]
        if link.startswith(b"/") and not link.startswith(_NO_FILES):
            self.unknown += 1
        return None

    def of_device(self, dev: int, tid: int) -> int:
        """The same by the device of a mapping of thread ``tid``, as far as it is known."""
        if dev >> 20:
            return OTHER  # on a block device; memory files are on anonymous ones
        if dev not in self._devices and tid not in self._missed:
            self._missed.add(tid)
            self._read(str(tid))
        return self._devices.get(dev, OTHER)

    @contextmanager
    def held(self, path: bytes, dev: int | None = None, ino: int | None = None) -> Iterator[int]:
        """An O_PATH descriptor of a memory file, of this one if ``dev`` and ``ino`` are given.

        OSError, FileNotFoundError where it is another, or none. No driver, lease or fanotify
        listener notices.
        """
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not self._memory(fd):
                raise FileNotFoundError(path)
            if dev is not None:
                found = inode.look(fd)
                if (found.dev, found.ino) != (dev, ino):
                    raise FileNotFoundError(path)
            yield fd
        finally:
            os.close(fd)

    def _memory(self, fd: int) -> bool:
        """Whether what we hold lies in memory; while we hold it its mount keeps its id."""
        number = inode.mount_id(f"/proc/self/fdinfo/{fd}")
        if number in self._internal:
            return True
        if os.readlink(os.fsencode(f"/proc/self/fd/{fd}")).startswith(_KERNELS_OWN):
            return True
        if number not in self._mounts:
            return False
        found = {one: magic for one, _, magic in self._table(self._mounts[number][1])}
        return found.get(number, OTHER) != OTHER

    def _ask(self, path: str, number: int) -> None:
        """Has another process ask the file system: if that never answers, we go on without it."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if inode.mount_id(f"/proc/self/fdinfo/{fd}") != number:
                return
            asking = subprocess.Popen(
                ["stat", "-f", "-c", "%t", "/proc/self/fd/0"],
                stdin=fd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                said, _ = asking.communicate(timeout=_ASK_S)
            except subprocess.TimeoutExpired:
                asking.kill()  # and no wait for it
                self.silent += 1
                return
            if said.strip() == b"%x" % inode.GUEST_MEMFD_MAGIC:
                dev = inode.look(fd).dev
                self._internal[number] = dev, inode.GUEST_MEMFD_MAGIC
                self.internal[dev] = self._devices[dev] = inode.GUEST_MEMFD_MAGIC
        finally:
            os.close(fd)
