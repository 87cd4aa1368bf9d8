"""README's Install: the wheel, by the commands shown there, on hosts that have nothing yet.

In fresh roots of Debian 12 and 13, whose copies are kept with what ``apt install`` brings; a minute
and a half each, so `make matrix` runs it. Takes root's rights.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import readme
from tests.readme import INSTALLING, ROOT
from tests.vm import roots
from tests.vm.roots import CHECKOUT, Root

SUITES = ("bookworm", "trixie")
BESIDE = ("ca-certificates", "man-db", "bash-completion")
"""What Debian's installer puts on every host, and debootstrap does not."""
MOST_BYTES = 1 << 20
APT = next(one for one in INSTALLING if one.startswith("apt "))
PIPX = INSTALLING[1:4]
VENV = INSTALLING[4:8]
READING = INSTALLING[8:]

USED = """
mkdir /tmp/empty; cd /tmp/empty
sealsnoop --help | grep -q 'exit code of every verb'
sealsnoop report debian-6.1 | head -1
sealsnoop script debian-7.3 --limit 2
sealsnoop verify debian-6.1
code=0; sealsnoop audit sealed-buffer debian-7.3 >said || code=$?; head -1 said
echo "audit ended with $code"
code=0; sealsnoop doctor >said || code=$?; tail -1 said; echo "doctor ended with $code"
"""
AS_ROOT = """
grep -q 'bpf .*can\\|bcc' said
man sealsnoop | grep -q 'watch and judge memfd seal decisions'
man -w sealsnoop-trace
bash -ic '. /usr/share/bash-completion/bash_completion; _comp_load sealsnoop 2>/dev/null ||
    __load_completion sealsnoop; complete -p sealsnoop' 2>/dev/null
test -s /usr/local/share/zsh/site-functions/_sealsnoop
test -s /usr/local/share/fish/vendor_completions.d/sealsnoop.fish
"""


@pytest.fixture(scope="session")
def wheel() -> Path:
    subprocess.run(["make", "-s", "wheel"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (built,) = (ROOT / "dist").glob("*.whl")
    return built


@pytest.fixture(params=SUITES)
def root(request: pytest.FixtureRequest) -> Iterator[Root]:
    packages = [one for one in APT.split() if one not in ("apt", "install")]
    with roots.fresh(request.param, [*packages, *BESIDE]) as fresh:
        yield fresh


def run(root: Root, *commands: str) -> str:
    done = root.typed("\n".join(commands))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout


def works(said: str) -> None:
    assert "\n8 breaches: 0 new, 8 by known holes of 6.1" in said
    assert "create     memfd:w0-mappings---0" in said
    assert "\nFAIL: " in said
    assert "audit ended with 2" in said
    assert "doctor ended with 0" in said or "doctor ended with 2" in said or "with 3" in said


def test_the_wheel_is_small_and_named_as_shown(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES
    assert f"./{wheel.name}" in PIPX[1]
    print(f"\n  {wheel.name}: {wheel.stat().st_size:,} bytes")


@pytest.mark.parametrize("way", [PIPX, VENV], ids=["pipx", "venv"])
def test_it_is_installed_as_shown(root: Root, wheel: Path, way: tuple[str, ...]) -> None:
    shutil.copy(wheel, root.path / "root")
    apt = APT.replace("apt install", "apt-get install -qq -y")  # nobody answers here
    said = run(root, "cd /root", apt, *way, USED, AS_ROOT)
    works(said)
    assert "/man1/sealsnoop-trace.1" in said
    assert "complete -o bashdefault -F _sealsnoop sealsnoop" in said


def test_reading_takes_a_clone_and_python(root: Root) -> None:
    roots.copy_checkout(root.path / CHECKOUT.relative_to("/"))
    works(run(root, f"cd {CHECKOUT}", *READING, USED))


def test_these_are_the_commands_of_readme() -> None:
    """Each block of them is run in its order."""
    found = [
        tuple(line.partition("  #")[0].strip() for line in body.splitlines())
        for body in readme.blocks("sh")
    ]
    assert {PIPX, VENV, READING} <= set(found)
