"""Who called us: under sudo the traced command must not run as root by accident."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """Whom a command runs as; ``groups`` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None
    home: str | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with what sudo made root's put right: HOME, USER and LOGNAME."""
        changed = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}
        return {**base, **{key: value for key, value in changed.items() if value is not None}}

    def become(self) -> None:
        """Changes this process for good. PermissionError where we are not root."""
        os.setgroups(list(self.groups))
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def by_id(uid: int, gid: int) -> User:
    """The user with these ids; one without an entry in the user database has no other groups."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, gid, (gid,), None, None)
    groups = os.getgrouplist(entry.pw_name, gid)
    return User(uid, gid, tuple(groups), entry.pw_name, entry.pw_dir)


def invoking_user(environ: Mapping[str, str] | None = None) -> User | None:
    """The user behind sudo, None where we run as ourselves (or sudo's marks make no sense)."""
    environ = os.environ if environ is None else environ
    uid, gid = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or not gid.isdecimal():
        return None
    return by_id(int(uid), int(gid))
