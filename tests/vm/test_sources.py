"""Which source package a kernel's selftest is taken from, and what is taken of it."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.vm.sources import SELFTEST, choose, extract, series


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.0-56-cloud-amd64", "6.1"),
        ("7.3.4+deb13-cloud-amd64", "7.3"),
        ("6.12.117+deb13-cloud-amd64", "6.12"),
        ("7.3~rc2-amd64", "7.3"),
        ("6.1.192", "6.1"),
    ],
)
def test_series(release: str, expected: str) -> None:
    assert series(release) == expected


def test_own_series_before_the_newest() -> None:
    served = ["linux-source-6.12", "linux-source-7.3", "linux-source-6.1", "linux-source"]
    assert choose(served, "6.1.0-56-cloud-amd64") == "linux-source-6.1"
    assert choose(served, "6.12.117+deb13-cloud-amd64") == "linux-source-6.12"
    assert choose(served, "7.4.1+deb14-cloud-amd64") == "linux-source-7.3"
    assert choose(["linux-source"], "6.1.0-56-cloud-amd64") is None


def test_only_the_wanted_files_are_taken(tmp_path: Path) -> None:
    archive = tmp_path / "linux-source-9.9.tar.xz"
    members = {
        f"linux-source-9.9/{SELFTEST}/memfd_test.c": "test",
        f"linux-source-9.9/{SELFTEST}/common.h": "common",
        f"linux-source-9.9/{SELFTEST}x/other.c": "other",
        "linux-source-9.9/include/uapi/linux/memfd.h": "header",
        "linux-source-9.9/include/uapi/linux/fs.h": "another",
        "linux-source-9.9/mm/memfd.c": "kernel",
        f"linux-source-9.9/{SELFTEST}/../../../../../../../../escaped/x": "evil",
    }
    with tarfile.open(archive, "w:xz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    target = tmp_path / "target" / "deep" / "down"
    extract(archive, target)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    base = "target/deep/down"
    assert found == {
        archive.name,
        f"{base}/{SELFTEST}/memfd_test.c",
        f"{base}/{SELFTEST}/common.h",
        f"{base}/{SELFTEST}/include/linux/memfd.h",
    }
