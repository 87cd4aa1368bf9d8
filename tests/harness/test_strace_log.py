"""Reading strace: lines as strace 6.1 writes them, from a run of memfd_test on Debian's 7.3."""

from tests.kernel.strace_log import calls

LOG = """\
179   openat(AT_FDCWD</work>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
179   mmap(NULL, 38591, PROT_READ, MAP_PRIVATE, 3</etc/ld.so.cache>, 0) = 0x7f61b6e38000
179   memfd_create(NULL, 0)             = -1 EFAULT (Bad address)
179   memfd_create("", 0x18 /* MFD_??? */) = -1 EINVAL (Invalid argument)
179   memfd_create(""..., MFD_CLOEXEC|MFD_ALLOW_SEALING) = 3</memfd:kern>(deleted)
179   ftruncate(3</memfd:kern>(deleted), 8192) = 0
179   fcntl(3</memfd:kern>(deleted), F_GET_SEALS) = 0xa (seals F_SEAL_SHRINK|F_SEAL_WRITE)
179   fcntl(3</memfd:kern>(deleted), F_ADD_SEALS, F_SEAL_WRITE <unfinished ...>
180   mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED, 3</memfd:kern>(deleted), 0) = 0x7f61b6000
179   <... fcntl resumed>)              = -1 EBUSY (Device or resource busy)
179   write(3</memfd:kern>(deleted), ""..., 4) = -1 EPERM (Operation not permitted)
179   fallocate(3</memfd:kern>(deleted), FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 0, 8192) = 0
179   fallocate(3</memfd:kern>(deleted), 0, 0, 32768) = -1 EPERM (Operation not permitted)
179   openat(AT_FDCWD</work>, "/proc/self/fd/3", O_RDWR|O_CREAT|O_TRUNC, 0600) = -1 EPERM (Op)
179   openat(AT_FDCWD</work>, "/proc/self/fd/3", O_RDONLY) = 4</memfd:kern>(deleted)
179   fcntl(4</memfd:kern>(deleted), F_ADD_SEALS, F_SEAL_SEAL) = -1 EPERM (Operation not permitted)
179   close(4</memfd:kern>(deleted))    = 0
179   openat(AT_FDCWD</work>, "/proc/self/fd/3", O_RDWR) = 4</memfd:kern>(deleted)
179   fcntl(4</memfd:kern>(deleted), F_ADD_SEALS, 0x20 /* F_SEAL_??? */) = 0
179   fchmod(4</memfd:kern>(deleted), 0777) = -1 EPERM (Operation not permitted)
179   read(4</memfd:kern>(deleted), ""..., 16) = 16
179   write(1</tmp/out>, ""..., 492)    = 492
181   exit_group(0)                     = ?
181   +++ exited with 0 +++
"""


def test_each_call_on_a_memory_file_is_one_operation() -> None:
    found = [(call.pid, call.op, call.errno, call.read_only) for call in calls(LOG.splitlines())]
    assert found == [
        (179, "create", "EFAULT", False),
        (179, "create", "EINVAL", False),
        (179, "create", None, False),
        (179, "truncate", None, False),
        (180, "mmap", None, False),
        (179, "add_seals", "EBUSY", False),  # in the order in which they ended
        (179, "write", "EPERM", False),
        (179, "punch_hole", None, False),
        (179, "allocate", "EPERM", False),
        (179, "truncate", "EPERM", False),
        (179, "add_seals", "EPERM", True),
        (179, "add_seals", None, False),  # the same number, opened for writing
        (179, "chmod", "EPERM", False),
        (179, "read", None, False),
    ]


def test_names_and_answers() -> None:
    found = list(calls(LOG.splitlines()))
    assert {call.name for call in found if call.op not in ("create", "truncate")} == {"kern"}
    assert [call.answer for call in found if call.op == "mmap"] == [0x7F61B6000]
    assert [call.answer for call in found if call.op == "read"] == [16]
    assert all(call.answer == -1 for call in found if call.errno)
