"""The commands that README shows, and who runs each of them as it stands there.

A command that is in none of these lists fails a test (tests/unit/test_readme.py).
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

HERE = {
    "sealsnoop trace debian-6.1 --filter 'op:mmap verdict:blocked,breach'": 0,
    "sealsnoop report debian-6.1": 0,
    "sealsnoop live debian-6.1": 0,
    "sealsnoop report s.seal": 0,
    "sudo sealsnoop ls --name 'ring*'": None,
    "sealsnoop report --diff debian-6.1 debian-7.3": 2,
    "sealsnoop trace host.seal --since 03:00 --until 03:10": 0,
    "sealsnoop report s.seal --fail-on breach,unexplained": 2,
    "sealsnoop report debian-6.1 --html seals.html": 0,
    "sealsnoop report s.seal --flame flame.html": 0,
    "sealsnoop trace --help": 0,
    "sealsnoop doctor": None,
    "source <(sealsnoop completion bash)": 0,
    "strace ./workload": 0,
}
"""Need neither root nor a kernel that can be traced; with the exit code, None: as the host is."""

ROOT_NEEDED = {
    "sudo sealsnoop trace -- ./workload": "ends",
    "sudo sealsnoop trace -- ./program": "ends",
    "sudo sealsnoop trace --pid 4242": "prints",
    "sudo sealsnoop trace --file /proc/4242/fd/7": "prints",
    "sudo sealsnoop record -o s.seal -- ./program": "ends",
    "sudo sealsnoop audit ordinary-qemu --live": "records",
    "sudo sealsnoop live": "shows",
    "sudo sealsnoop trace --on-violation 'logger -t seals'": "prints",
    "sudo sealsnoop trace --source ftrace -- ./program": "ends",
}
"""Run in a booted kernel (tests/kernel/scenes_readme.py); with what shows that it works."""

INSTALLING = (
    "apt install python3-bpfcc python3-venv pipx",
    "export PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin",
    "pipx install --system-site-packages ./sealsnoop-0.1.0-py3-none-any.whl",
    "cp -r /opt/pipx/venvs/sealsnoop/share /usr/local/",
    "python3 -m venv --system-site-packages /opt/sealsnoop",
    "/opt/sealsnoop/bin/pip install ./sealsnoop-0.1.0-py3-none-any.whl",
    "ln -sf /opt/sealsnoop/bin/sealsnoop /usr/local/bin/sealsnoop",
    "cp -r /opt/sealsnoop/share /usr/local/",
    "python3 -m venv ~/sealsnoop",
    "~/sealsnoop/bin/pip install .",
    "source ~/sealsnoop/bin/activate",
)
"""Run in fresh roots of Debian (tests/installed)."""

ELSEWHERE = (
    "make live",  # tests/kernel/test_live.py
    "make test",  # which runs this
    "make wheel",  # tests/installed
    "apt install python3-venv",  # part of the command above
    "dnf install python3-bcc pipx",  # nobody here: Fedora
    "pacman -S python-bcc python-pipx",  # nor Arch
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_STARTS = re.compile(
    r"(?:sudo )?(?:sealsnoop|make|apt|dnf|pacman|pipx?|python3|export|cp|ln|strace|source) "
    r"|\S*/pip "
)


def blocks(language: str) -> list[str]:
    """The contents of README's code blocks of a language; "": of those without one."""
    return [body for name, body in _FENCED.findall(README.read_text()) if name == language]


def shown() -> list[str]:
    """Every command that README shows, in its order, each once."""
    text = README.read_text()
    found = []
    for body in blocks("sh"):
        found += [line.partition("  #")[0].strip() for line in body.splitlines()]
    for body in blocks(""):
        found += [line[2:] for line in body.splitlines() if line.startswith("$ ")]
    spans = [" ".join(one.split()) for one in _SPAN.findall(_FENCED.sub("", text))]
    found += [one for one in spans if _STARTS.match(one)]
    return list(dict.fromkeys(one for one in found if one))
