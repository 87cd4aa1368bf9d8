"""Which Debian packages set-up installs, and why: what we call, and what those call themselves.

What recording alone needs stands in ``tracer/kernel/requirements/host.py``, for other
distributions, too. Run as a program, this prints names for ``tests/vm/setup``; it needs nothing
but a Python.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tracer.kernel.requirements import host as distribution

HARNESS = {
    "qemu-system-x86": "tests/vm: real kernels",
    "busybox-static": "virtme-ng: the guest's first programs, in its initramfs",
    "file": "virtme-ng: asks it whether busybox is static, and for the release of a kernel image",
    "kmod": "tests/vm, virtme-ng: depmod and modprobe; in the guest modprobe",
    "udev": "in the guest: virtme-ng's init starts it for the devices",
    "xz-utils": "tests/vm: the kernel's source is a .tar.xz, which tar has xz unpack",
    "debootstrap": "tests/vm: a Debian of another release, as a folder",
    "stress-ng": "tests/kernel: its stressor of seals is recorded",
    "bpftrace": "tests/bench: what is compared with",
    "trace-cmd": "tests/bench: what is compared with",
    "tmux": "tests/tty: the view on a real terminal",
    "chromium": "tests/tty: the view in a browser",
}
"""Beside the tool: what the tests and benchmarks call. Only on Debian, whose kernels they boot."""

UNIT_TESTS = {
    "strace": "what a program really called",
    "zsh": "its completion", "fish": "its completion",
    "g++": "names of C++ in a stack",
    "groff-base": "man pages as man shows them",
    "dwarves": "pahole's own view of a BTF",
    "locales": "tests/elsewhere: other languages", "tzdata": "tests/elsewhere: other zones",
}  # fmt: skip
"""Beside the tool: what tests/unit calls."""

KERNEL_BUILD = {
    "bc": "time constants", "bison": "Kconfig", "flex": "Kconfig", "gcc": "", "make": "",
    "dwarves": "pahole makes the BTF", "libelf-dev": "objtool", "libssl-dev": "certificates",
    "patch": "", "cpio": "the headers in the kernel (IKHEADERS)", "xz-utils": "the same",
}  # fmt: skip
"""For a kernel of our own (built.py), installed when one is built."""


def tool() -> list[str]:
    """What recording, and the workload of ``make live``, needs of Debian."""
    debian = distribution.FAMILIES["debian"]
    return [name for need in distribution.NEEDS for name in need.packages(debian)]


def main() -> int:
    """``tool``, ``all``: names, one a line. ``missing PYTHON``: what other distributions lack."""
    match sys.argv[1:]:
        case ["tool"]:
            print(*tool(), sep="\n")
        case ["all"]:
            print(*tool(), *UNIT_TESTS, *HARNESS, sep="\n")
        case ["missing", python]:
            for line in distribution.missing(Path("/"), python):
                print(line)
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
