"""The pure parts of the kernel harness: choosing a build, quoting a command, reading a stream."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm import built, cache, kernels, machine
from tests.vm.debian import HarnessError, version_key
from tests.vm.stream import Marks, Unframer

MARKS = Marks(b"<begin-0123>", b"<end-0123>")


def test_versions_sort_as_dpkg_sorts_them() -> None:
    oldest_first = [
        "6.1.0~rc1-1",
        "6.1.0-1",
        "6.1.0-9",
        "6.1.0-49",
        "6.1.192-2",
        "6.12.90+deb12",
        "6.12.90+deb12.1",
        "6.12.90+deb13",
        "6.12.117+deb12",
        "7.2.13+deb14",
        "7.3~rc4",
        "7.3",
        "7.3.4+deb13",
        "7.10.1+deb13",
    ]
    assert sorted(set(oldest_first), key=version_key) == oldest_first
    if Path("/usr/bin/dpkg").exists():
        for older, newer in pairwise(oldest_first):
            subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=True)


def test_a_pattern_takes_its_own_flavour_newest_first() -> None:
    served = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64-unsigned",
        "linux-image-6.1.0-56-amd64",
        "linux-image-6.1.0-56-rt-amd64",
        "linux-image-6.1-cloud-amd64",
        "linux-image-6.12.90+deb13-cloud-amd64",
        "linux-headers-6.1.0-56-cloud-amd64",
    ]
    assert kernels.candidates(served, kernels.known()["6.1"].image) == [
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-9-cloud-amd64",
    ]


def test_the_generic_flavour_is_no_other() -> None:
    served = [
        "linux-image-6.12.117+deb13-amd64",
        "linux-image-6.12.117+deb13-cloud-amd64",
        "linux-image-6.12.117+deb13-rt-amd64",
        "linux-image-6.12.117+deb13-amd64-unsigned",
        "linux-image-6.12.90+deb13.1-amd64",
        "linux-image-6.12-amd64",
        "linux-image-amd64",
        "linux-image-7.3.4+deb13-amd64",
        "linux-image-7.3.4+deb13-cloud-amd64",
    ]
    ours = ["linux-image-6.12.117+deb13-amd64", "linux-image-6.12.90+deb13.1-amd64"]
    assert kernels.candidates(served, kernels.known()["6.12-amd64"].image) == ours
    newest = ["linux-image-7.3.4+deb13-amd64", *ours]
    assert kernels.candidates(served, kernels.known()["newest-amd64"].image) == newest


def test_a_kernel_of_our_own_is_of_the_newest_source_or_of_a_named_one() -> None:
    served = ["linux-source", "linux-source-7.9", "linux-source-7.10", "linux-source-6.12"]
    assert built.newest(served, "linux-source-[0-9]*") == "linux-source-7.10"
    assert built.newest(served, "linux-source-6.12") == "linux-source-6.12"
    with pytest.raises(HarnessError, match=r"no package like linux-source-6\.1 is served"):
        built.newest(served, "linux-source-6.1")


def test_newest_skips_metapackages_and_is_not_fooled_by_text_order() -> None:
    served = [
        "linux-image-cloud-amd64",
        "linux-image-7.3-cloud-amd64",
        "linux-image-7.3.4+deb13-cloud-amd64",
        "linux-image-7.10.1+deb14-cloud-amd64",
        "linux-image-7.9.9+deb14-cloud-amd64",
    ]
    newest = kernels.candidates(served, kernels.known()["newest"].image)
    assert newest[0] == "linux-image-7.10.1+deb14-cloud-amd64"
    assert len(newest) == 3


def test_every_entry_has_suites_a_pattern_and_a_note() -> None:
    for entry in kernels.known().values():
        assert entry.suites
        assert entry.note
        if entry.folder:  # of our own: built from that source with the patch in the folder
            assert entry.image.startswith("linux-source-")
            assert (kernels.DATA.parent / entry.folder / f"{entry.name}.patch").is_file()
        else:
            assert entry.image.startswith("linux-image-")
            flavour = "-amd64" if entry.name.endswith("-amd64") else "-cloud-amd64"
            assert entry.image.endswith(flavour)


def test_an_old_image_is_one_package() -> None:
    image = "linux-image-6.1.0-56-cloud-amd64"
    found = kernels.build(image, ["kmod", "linux-base", "initramfs-tools"], {image})
    assert found == kernels.Build(image, (image,), modules=True)


def test_a_new_image_brings_the_parts_that_are_served() -> None:
    release = "7.3.4+deb13-cloud-amd64"
    image = f"linux-image-{release}"
    base, binary, modules = (f"linux-{part}-{release}" for part in ("base", "binary", "modules"))
    depends = ["dracut", base, binary, modules]

    def build(*served: str) -> kernels.Build | None:
        return kernels.build(image, depends, {image, *served})

    assert build(base, binary, modules) == kernels.Build(image, (image, *depends[1:]), True)
    assert build(binary, modules) == kernels.Build(image, (image, binary, modules), True)
    assert build(base, binary) == kernels.Build(image, (image, base, binary), False)
    assert build(base, modules) is None


def test_an_unknown_kernel_is_named_with_those_there_are() -> None:
    with pytest.raises(HarnessError, match=r"'9\.9'.*6\.1.*newest"):
        kernels.find("9.9")


def test_the_cache_is_outside_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "sealsnoop" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert not cache.cache_folder().is_relative_to(machine.PROJECT)


def test_a_cached_kernel_whose_image_is_gone_is_not_cached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.cache_folder()
    folder.mkdir(parents=True)
    (folder / "6.1.json").write_text('{"name": "6.1", "release": "r", "image": "/nowhere"}')
    assert kernels.cached("6.1") is None
    (folder / "6.1.json").write_text("half a fi")
    assert kernels.cached("6.1") is None


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_no_argument_can_leave_its_quotes(words: list[str]) -> None:
    script = machine.start_script(words, Path("/a b/'c"), MARKS, machine.Options())
    line = next(part for part in script.split("\n(cd -- ")[1:])
    # Take what a shell would make of it: strip all quoted text, and nothing but blanks is left.
    command = line.partition(" && exec ")[2].rpartition(")\ncode=$?")[0]
    bare = re.sub(r"'[^']*'|\"'\"|[A-Za-z0-9_@%+=:,./-]+", "", command)
    assert not bare.strip(" ")


def test_the_script_gives_arguments_on_as_they_are(tmp_path: Path) -> None:
    words = ["a b", "q'uote", "$HOME", "`id`", "", "*", "--", "new\nline", 'dou"ble', "\\"]
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    command = [sys.executable, "-c", code, *words]
    script = machine.start_script(command, tmp_path, MARKS, machine.Options())
    # Only the lines that run the command; the others set up a machine that we are not in.
    lines = script[script.index("printf %s") :].replace("sleep 60", "").replace("sync\n", "")
    done = subprocess.run(["sh", "-c", lines], capture_output=True, check=False)
    reader = Unframer(MARKS)
    assert reader.feed(done.stdout).decode() == f"{words}\n"
    assert reader.exit_code == 7


@given(
    st.binary(max_size=40),
    st.binary(max_size=200),
    st.lists(st.integers(1, 50)),
    st.integers(0, 255),
)
def test_a_stream_is_read_alike_in_whatever_pieces(
    noise: bytes, output: bytes, sizes: list[int], code: int
) -> None:
    output = output.replace(b"0123", b"")
    stream = noise + MARKS.begin + output + MARKS.end + b"%d\n" % code + b"reboot: Power down"
    reader = Unframer(MARKS)
    got = b""
    for size in [*sizes, len(stream)]:
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert got == output
    assert reader.noise == noise
    assert reader.exit_code == code
    assert reader.ended.is_set()


def test_output_is_passed_on_before_the_command_ends() -> None:
    reader = Unframer(MARKS)
    assert reader.feed(MARKS.begin + b"first line\n") == b"first line\n"
    assert not reader.ended.is_set()


def test_writable_layers_do_not_overlap() -> None:
    folders = machine.overlays(Path("/srv/x"))
    assert Path("/srv/x") in folders
    for folder in folders:
        assert not any(folder != other and folder.is_relative_to(other) for other in folders)
    assert machine.overlays(Path("/tmp/below")).count(Path("/tmp")) == 1
    assert Path("/") not in machine.overlays(Path("/"))
