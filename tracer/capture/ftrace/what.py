"""What an event of the ring tells."""

from enum import IntEnum


class What(IntEnum):
    """What an event tells."""

    NONE = 0
    ENTRY = 1
    RETURN = 2
    CHECK = 3
    """The return of a seal check inside a call."""
    FILE_MMAP = 4
    CHUNK = 5
    """The entry of a write's seal check, where the inode is locked."""
    INSTALL = 6
    """A descriptor gets its file."""
    FACT = 7
    """Something that has no return: map, unmap, evict."""
    NEWTASK = 8
    EXIT = 9
    CREDS = 10
    CGROUP = 11
    EXEC = 12
