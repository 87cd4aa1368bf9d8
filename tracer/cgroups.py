"""Who a cgroup belongs to, by its path alone: unit, slice, user, container, pod, virtual machine.

No daemon is asked: the one that made the cgroup may be gone, on another machine, or lie. The path
says as much as the names in it are somebody's that is believed, so each level is taken for what it
is only if root alone could have chosen its name (:func:`roots_levels`). A cgroup cannot be renamed
in cgroup v2 (kernel/cgroup/cgroup.c: ``cgroup_kf_syscall_ops`` has no ``rename``), so a name stays
what it was made as. What stands below those levels, below a container, a virtual machine or a
user's own service manager was named by who runs there; it is parsed, too, but kept apart, as
:attr:`Place.inner`, and nothing filters or permits by it.

Where each form comes from stands in ``tests/unit/cgroup_forms.py``.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

UNKNOWN_USER = 0xFFFFFFFF
"""Who named a level is not known. The kernel's own number for no user (INVALID_UID)."""


ROOT = 1
"""Number of the root of the cgroup v2 tree, on every host (fs/kernfs/dir.c counts from it)."""


def roots_levels(named_by: Iterable[int]) -> int:
    """How many levels root alone named: the first ones that user 0 made.

    Who owns a level says nothing: systemd gives ``user@1000.service`` to its user
    (``Delegate=``), who could not have called it so.

    :param named_by: of each level below the root, the outermost first.
    """
    return sum(1 for _ in itertools.takewhile(lambda user: user == 0, named_by))


@dataclass(frozen=True, slots=True)
class Place:
    """What a path says of who runs there; empty: it does not say."""

    slice: str = ""
    """The innermost of systemd's slices."""
    unit: str = ""
    """systemd's unit: a service, scope, socket, mount or swap."""
    user: int | None = None
    """Whose session or service manager, by ``user-N.slice`` or ``user@N.service``."""
    runtime: str = ""
    """What made the container: docker, podman, containerd, cri-o, buildkit, lxc, nspawn, machined,
    libvirt-lxc. A container of an unnamed runtime has none: Kubernetes' folders without systemd
    have no word for it."""
    container: str = ""
    """The container's id, or its name where the runtime has no other."""
    pod: str = ""
    """Uid of a Kubernetes pod, with hyphens; a static pod's as its 32 digits are."""
    vm: str = ""
    """A virtual machine's name."""
    inner: "Place | None" = None
    """What levels that others named say, and who that is may not be believed."""


_ID = r"[0-9a-f]{64}"
_NAME = r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*"
"""Of a containerd container or namespace (containerd: pkg/identifiers)."""
_UUID = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"

_PREFIXES = {
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
}
_PREFIXED = re.compile(rf"({'|'.join(_PREFIXES)})-({_ID})(?:\.scope)?")
_COLONS = re.compile(rf"([^:]*\.slice):({'|'.join(_PREFIXES)}):({_ID})")
"""runc's ``slice:prefix:name``, as a folder's name where the runtime was not told of systemd."""
_BARE_ID = re.compile(_ID)
_BUILDKIT = re.compile(r"[a-z0-9]{25}")
_NAMESPACES = ("default", "k8s.io", "moby")
"""containerd's, as its clients call them; others cannot be told from anybody's folders."""
_LXC = "lxc.payload."
_PAYLOAD = ("payload", "ns")
"""Where nspawn and Proxmox's LXC put what runs in the container, beside what looks after it."""
_POD = re.compile(rf"(?:.*kubepods.*-)?pod({_UUID}|[0-9a-f]{{32}})(?:\.slice)?")
_SLICE = re.compile(r"[A-Za-z0-9:_.\\-]+\.slice")
_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]+)?\.(?:service|scope|socket|mount|swap)"
)
_USER = re.compile(r"user-(\d{1,10})\.slice|user@(\d{1,10})\.service")
_MACHINE = re.compile(r"machine-(.+)\.scope", re.S)
_LIBVIRT_SCOPE = re.compile(r"(qemu|lxc|ch|xen)-\d+-(.+)", re.S)
_LIBVIRT = re.compile(r"(?:(?:qemu|lxc|ch|xen)-\d+-)?(.+)\.libvirt-(qemu|lxc|ch|xen)", re.S)
_TEMPLATE = re.compile(r"systemd-(nspawn|vmspawn)@(.+)\.service")
_PROXMOX_VM = re.compile(r"(\d+)\.scope")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def unescaped(name: str) -> str:
    """A machine's name before systemd escaped it (src/basic/unit-name.c, ``unit_name_escape``)."""
    raw = _ESCAPED.sub(
        lambda found: bytes([int(found[1], 16)]), name.encode("utf-8", "surrogateescape")
    )
    return raw.decode("utf-8", "surrogateescape")


def _folder(name: str) -> str:
    """systemd puts ``_`` before names that the kernel's files have (src/basic/cgroup-util.c)."""
    return name.removeprefix("_")


def _pod(name: str, above: Sequence[str]) -> str:
    found = _POD.fullmatch(name)
    if not found or not any("kubepods" in one for one in (name, *above)):
        return ""
    return found[1].replace("_", "-")


def _container(name: str, above: Sequence[str]) -> tuple[str, str] | None:
    """``(runtime, id)`` if this level is a container."""
    parent = above[-1] if above else ""
    if found := _PREFIXED.fullmatch(name):
        return _PREFIXES[found[1]], found[2]
    if found := _COLONS.fullmatch(name):
        return _PREFIXES[found[2]], found[3]
    if name.startswith(_LXC):
        return "lxc", name.removeprefix(_LXC)
    if parent in ("lxc", "lxc.payload") and len(above) == 1:
        return "lxc", name
    if (found := _TEMPLATE.fullmatch(name)) and found[1] == "nspawn":
        return "nspawn", unescaped(found[2])
    if found := _MACHINE.fullmatch(name):
        machine = unescaped(found[1])
        libvirt = _LIBVIRT_SCOPE.fullmatch(machine)
        if not libvirt:
            return "machined", machine
        return ("libvirt-lxc", libvirt[2]) if libvirt[1] == "lxc" else None
    if (found := _LIBVIRT.fullmatch(_folder(name))) and found[2] == "lxc":
        return "libvirt-lxc", found[1]
    if list(above) == ["docker", "buildkit"] and _BUILDKIT.fullmatch(name):
        return "buildkit", name
    if _BARE_ID.fullmatch(name) and parent != "libpod_parent":  # there it is podman's own pod
        known = {"docker": "docker", **dict.fromkeys(_NAMESPACES, "containerd")}
        return known.get(parent, ""), name
    if len(above) == 1 and parent in _NAMESPACES and re.fullmatch(_NAME, name):
        return "containerd", name
    return None


def _vm(name: str, above: Sequence[str]) -> str:
    if found := _MACHINE.fullmatch(name):
        libvirt = _LIBVIRT_SCOPE.fullmatch(unescaped(found[1]))
        return libvirt[2] if libvirt and libvirt[1] != "lxc" else ""
    if found := _LIBVIRT.fullmatch(_folder(name)):
        return found[1] if found[2] != "lxc" else ""
    if (found := _TEMPLATE.fullmatch(name)) and found[1] == "vmspawn":
        return unescaped(found[2])
    if (found := _PROXMOX_VM.fullmatch(name)) and list(above) == ["qemu.slice"]:
        return found[1]
    return ""


def _user(name: str) -> int | None:
    found = _USER.fullmatch(name)
    return int(found[1] or found[2]) if found else None


def _unit(name: str) -> str:
    """A unit's name, or empty; a template has none of its own (``getty@.service``)."""
    found = _UNIT.fullmatch(name)
    return name if found and (found[1] or "@" not in name) else ""


def parse(path: str, trusted: int | None = None) -> Place:
    """What ``path`` (from the root of the cgroup v2 tree) says.

    :param path: ``/system.slice/ssh.service``; more slashes than needed do no harm.
    :param trusted: how many levels root named (:func:`roots_levels`); None: all.
    """
    levels = [level for level in path.split("/") if level]
    return _parse(levels, len(levels) if trusted is None else min(trusted, len(levels)))


def _parse(levels: Sequence[str], trusted: int) -> Place:
    told: dict[str, str | int] = {}
    slices = True
    end = trusted
    for at, raw in enumerate(levels[:trusted]):
        above, name = levels[:at], _folder(raw)
        colons = _COLONS.fullmatch(name)
        pod = _pod(colons[1] if colons else name, above)
        if pod:
            told["pod"] = pod
        user = _user(name)
        if user is not None:
            told["user"] = user
        if slices and _SLICE.fullmatch(name):
            told["slice"] = name
        elif slices:
            slices = False
            if unit := _unit(name):
                told["unit"] = unit
        container = _container(raw, above)
        if container:
            told["runtime"], told["container"] = container
        elif vm := _vm(raw, above):
            told["vm"] = vm
        if container or "vm" in told or (name.startswith("user@") and user is not None):
            end = at + 1
            break
    rest = levels[end:]
    if "container" in told and rest[:1] and rest[0] in _PAYLOAD:
        rest = rest[1:]
    inner = _parse(rest, len(rest)) if rest else Place()
    return Place(**told, inner=inner if inner != Place() else None)  # type: ignore[arg-type]


def label(place: Place) -> str:
    """In a few words, outermost first: ``pod 1f3a…, containerd 0123456789ab``; empty: nothing.

    A user's session or service manager is not said: it tells no more than the user.
    """
    return ", ".join(_parts(place))


_SHORT = 12
"""Digits of a long id that are shown, as every runtime's own lists do."""


def _parts(place: Place) -> Iterator[str]:
    if place.pod:
        yield f"pod {place.pod}"
    if place.container:
        short = place.container[:_SHORT] if _BARE_ID.fullmatch(place.container) else place.container
        yield f"{place.runtime or 'container'} {short}"
    elif place.vm:
        yield f"vm {place.vm}"
    elif place.user is not None:
        return
    elif place.unit:
        yield place.unit
    elif place.slice and not place.pod:
        yield place.slice
