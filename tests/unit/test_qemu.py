"""What a machine is called by who runs it."""

import pytest

from tracer.qemu import ROOM, claimed

QEMU = b"/usr/bin/qemu-system-x86_64"
UUID = b"0a1b2c3d-0000-4000-8000-00000000000f"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (b"-name web", b"web"),
        (b"--name web", b"web"),
        (b"-name guest=web,debug-threads=on", b"web"),  # as libvirt says it
        (b"-name debug-threads=on,guest=web", b"web"),
        (b"-name web,process=worker", b"web"),
        (b"-name guest=a,,b,process=x", b"a,b"),
        (b"-name process=worker", b""),
        (b"-name a -m 1G -name b", b"b"),
        (b"-name a -name process=x", b"a"),
        (b"-uuid " + UUID, UUID),
        (b"-name web -uuid " + UUID, b"web"),
        (b"-uuid web", b""),
        (b"-name", b""),
        (b"-m 1G", b""),
        (b"name web", b""),
        (b"-name " + b"x" * 500, b"x" * ROOM),
    ],
)
def test_its_name(words: bytes, name: bytes) -> None:
    assert claimed(QEMU, [b"qemu", *words.split(b" ")]) == name


@pytest.mark.parametrize(
    ("exe", "there"),
    [
        (b"/usr/libexec/qemu-kvm", True),
        (b"/usr/bin/qemu-system-aarch64", True),
        (b"/usr/bin/kvm", True),
        (b"/usr/bin/qemu-img", False),
        (b"/usr/bin/find", False),  # find -name web
        (b"/usr/bin/qemu-system-x86_64/find", False),
        (b"", False),
    ],
)
def test_only_qemu_has_one(exe: bytes, there: bool) -> None:
    assert bool(claimed(exe, [b"x", b"-name", b"web"])) == there
