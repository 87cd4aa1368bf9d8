"""The kernel's error numbers, by the kernel's names.

Not Python's ``errno``: that has the names of the C library it was built with, so the same filter
would mean something else, or nothing, on another host.
"""

from collections.abc import Mapping

MAX_ERRNO = 4095
"""Answers in ``-MAX_ERRNO..-1`` are errors (include/linux/err.h)."""

_UAPI = """
EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR
EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE
ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG
ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL
EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED
EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON EFTYPE
"""
"""include/uapi/asm-generic/errno.h, from 1 on; ``-``: a number that is free. A new one goes to the
end."""
_INTERNAL = """
ERESTARTSYS ERESTARTNOINTR ERESTARTNOHAND ENOIOCTLCMD ERESTART_RESTARTBLOCK EPROBE_DEFER
EOPENSTALE ENOPARAM - EBADHANDLE ENOTSYNC EBADCOOKIE ENOTSUPP ETOOSMALL ESERVERFAULT EBADTYPE
EJUKEBOX EIOCBQUEUED ERECALLCONFLICT ENOGRACE
"""
"""include/linux/errno.h, from 512 on: never meant for user space, yet seen by a return probe."""
_NAMES = {
    number: name
    for first, names in ((1, _UAPI), (512, _INTERNAL))
    for number, name in enumerate(names.split(), first)
    if name != "-"
}

ERRNOS: Mapping[str, int] = {name: number for number, name in _NAMES.items()}
"""``{name: number}`` of all that have a name, by number."""
_OTHER_NAMES = {"EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK", "ENOTSUP": "EOPNOTSUPP"}


def errno_name(answer: int) -> str | None:
    """Symbol of a negative answer (``-1`` → ``EPERM``), None for 0, counts and addresses.

    An error without a name is ``E2000`` and the like.
    """
    if not -MAX_ERRNO <= answer <= -1:
        return None
    return _NAMES.get(-answer, f"E{-answer}")


def errno_number(name: str) -> int | None:
    """The number of a name: the kernel's, the C library's second one, or as in ``E2000``.

    ``E134`` is 134 also since that has a name: what was written once goes on to mean the same.
    """
    number = ERRNOS.get(_OTHER_NAMES.get(name, name))
    digits = name.removeprefix("E")
    if number is None and name.startswith("E") and digits.isascii() and digits.isdecimal():
        number = int(digits) if digits[0] != "0" and len(digits) <= 4 else None
    return number if number is not None and number <= MAX_ERRNO else None
