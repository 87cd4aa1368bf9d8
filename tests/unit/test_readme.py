"""Every command that README shows does what it says there, typed as it is shown."""

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import sealsnoop
from tests import readme
from tests.readme import ELSEWHERE, HERE, INSTALLING, ROOT, ROOT_NEEDED
from tracer.cli.main import find

SAMPLES = ROOT / "samples/recordings"
PROGRAM = f"""#!{sys.executable}
import fcntl, mmap, os
os.dup2(os.memfd_create("ring", os.MFD_ALLOW_SEALING), 9)
os.ftruncate(9, 4096)
fcntl.fcntl(9, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE
try:
    mmap.mmap(9, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
except PermissionError:
    pass
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder with what the commands are about."""
    (tmp_path / "workload").write_text(PROGRAM)
    (tmp_path / "workload").chmod(0o755)
    for name in ("s", "host"):
        shutil.copytree(SAMPLES / "debian-6.1.seal", tmp_path / f"{name}.seal")
    return tmp_path


def environ() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown_in = {"TZ": "UTC", "LC_ALL": "C.UTF-8"}  # strace speaks the user's language
    return {**os.environ, "PATH": path, "TERM": "xterm-256color", **shown_in}


def typed(command: str, place: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command.removeprefix("sudo ")], cwd=place, env=environ(), timeout=120,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def on_a_terminal(command: str, place: Path, key: bytes) -> int:
    """The exit code of what runs until ``key``, pressed when the screen has stood for a while."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execvpe("bash", ["bash", "-c", command], environ())
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    end, drawn = time.monotonic() + 90, b""
    while time.monotonic() < end:
        if not select.select([fd], [], [], 2)[0]:
            if b"\x1b[?1049h" in drawn and len(drawn) > 5000:
                os.write(fd, key)
            continue
        try:
            drawn += os.read(fd, 1 << 16)
        except OSError:  # its end
            break
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_every_command_is_run_somewhere() -> None:
    """One that is new in README, or gone from it, changes the lists."""
    assert sorted(readme.shown()) == sorted([*HERE, *ROOT_NEEDED, *INSTALLING, *ELSEWHERE])


@pytest.mark.parametrize("command", [one for one in HERE if "sealsnoop live" not in one])
def test_as_it_is_shown(command: str, place: Path) -> None:
    # Sourcing nothing succeeds, too.
    shown = f"{command}; complete -p sealsnoop" if command.startswith("source") else command
    done = typed(shown, place)
    wanted = HERE[command]
    assert done.returncode in ((0, 2, 3) if wanted is None else (wanted,)), done.stderr
    assert "Traceback" not in done.stderr
    if "--html" in command:
        assert "<html" in (place / "seals.html").read_text()
    elif "since" not in command:
        assert done.stdout or done.stderr


def test_the_view_opens_and_q_leaves_it(place: Path) -> None:
    assert on_a_terminal("sealsnoop live debian-6.1", place, b"q") == 0


@pytest.mark.parametrize("command", ROOT_NEEDED)
def test_what_needs_root_is_a_right_command_line(command: str) -> None:
    words = shlex.split(command)[2:]
    own = words[: words.index("--")] if "--" in words else words
    find(sealsnoop.verbs()[own[0]]).parser().parse_args(own[1:])


def test_what_strace_and_we_say_of_the_same_call(place: Path) -> None:
    """The lines that README shows are printed: strace's by a run, ours from a recording."""
    (block,) = readme.blocks("")
    assert "$ strace ./workload" in block
    refused = next(line for line in block.splitlines() if line.startswith("mmap("))
    assert refused in typed("strace ./workload", place).stderr.splitlines()
    ours = [line for line in block.splitlines() if re.match(r"\d\d:\d\d:", line)]
    printed = typed("sealsnoop trace debian-6.1", place).stdout.splitlines()
    assert ours
    assert set(ours) <= set(printed)


def test_the_python_that_is_shown(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (block,) = readme.blocks("python")
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize(
    "document", [readme.README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for link in links:
        name, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            known = {
                re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings
            }
            assert anchor in known, link


def test_it_is_short() -> None:
    assert readme.README.read_text().count("\n") <= 250
