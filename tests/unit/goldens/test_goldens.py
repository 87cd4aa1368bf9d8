"""What every verb and the API give for every sample recording is what is kept in kept/.

Where an output was changed on purpose: ``REDRAW=1 .venv/bin/pytest tests/unit/goldens``, then look
at what git shows. Long ones are packed: ``xz -dc FILE``, or for git

    git config diff.xz.textconv 'xz -dc'; git diff --text
"""

import difflib
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.unit.goldens.runner import HERE, frames, machine, policies, recordings, run

KEPT = HERE / "kept"
PACKED_FROM = 24_000
"""Characters; shorter ones are kept as plain text, which git shows."""
MOST_BYTES = 1_500_000
SHOWN_LINES, SHOWN_WIDTH = 12, 160
REAL = ("debian-6.1", "debian-7.3")
TABLES = ("object", "fd", "process", "op", "rule")
REPORTS = ("a.html", "a.sarif", "a.json")


# ---- what is run ------------------------------------------------------------------------------


def script(name: str) -> Iterator[str]:
    path = f"{name}.seal"
    for form in ((), ("--json",), ("--csv",)):
        yield run("script", path, *form)
    yield run("script", path, "--filter", "ret:error !op:create", "--width", "160")
    yield run("script", path, "--ops", "mmap,add_seals", "--limit", "5", "--json")


def report(name: str) -> Iterator[str]:
    path = f"{name}.seal"
    for form in ((), ("--json",), ("--html", "-")):
        yield run("report", path, *form)
    for table in TABLES:
        yield run("report", path, "--by", table, "--csv")
    yield run("report", path, "--filter", "verdict:breach,blocked", "--top", "3")
    yield run("report", path, "--since", "0.01", "--until", "-0.01", "--json", "--by", "op")
    yield run("report", path, "--by", "op", "--fail-on", "breach,unexplained,loss")


def verify(name: str) -> Iterator[str]:
    path = f"{name}.seal"
    yield run("verify", path)
    yield run("verify", path, "--json")
    yield run("verify", path, "--digest", "0" * 64)
    events = Path(path, "events", "000000.parquet")
    raw = events.read_bytes()
    events.write_bytes(raw[:500] + bytes([raw[500] ^ 1]) + raw[501:])
    yield run("verify", path)
    events.unlink()
    yield run("verify", path, "--json")


def audit(policy: str) -> Callable[[str], Iterator[str]]:
    def under(name: str) -> Iterator[str]:
        told = ("audit", f"{policy}.toml", f"{name}.seal")
        yield run(*told)
        more = ("--html", "a.html", "--sarif", "a.sarif", "--statement", "a.json")
        yield run(*told, "--json", *more, files=REPORTS)
        yield run("verify", "a.json", "--recording", f"{name}.seal", "--report", "a.html")

    return under


def statement(name: str) -> Iterator[str]:
    """A signed one, by a key that is always the same: so is the signature."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    Path("key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path("pub.pem").write_bytes(public)
    told = ("audit", "sealed-buffer.toml", f"{name}.seal")
    yield run(*told, "--statement", "a.json", "--sign", "key.pem", files=("a.json",))
    recheck = ("--key", "pub.pem", "--recording", f"{name}.seal", "--policy", "sealed-buffer.toml")
    for form in ((), ("--json",)):
        yield run("verify", "a.json", *recheck, *form)
    yield run("verify", "a.json", "--policy", "only-vmm.toml")


def dataframes(name: str) -> Iterator[str]:
    yield frames(f"{name}.seal")


def compared(names: str) -> Iterator[str]:
    paths = [f"{name}.seal" for name in names.split("+")]
    for form in ((), ("--json",), ("--html", "-"), ("--csv",)):
        yield run("report", *paths, *form)
    for form in ((), ("--json",), ("--html", "-"), ("--fail-on", "difference")):
        yield run("report", "--diff", *paths, *form)
    yield run("audit", "sealed-buffer.toml", *paths)
    yield frames(*paths, rows=False)


def refused(name: str) -> Iterator[str]:
    """What cannot be done."""
    Path("no-policy.toml").write_text('name = "x"\n[[claim]]\nclaim = "never-maped"\n')
    for verb in ("script", "report", "verify"):
        yield run(verb, "nowhere.seal")
    yield run("script", f"{name}.seal", "--filter", "nme:x")
    yield run("report", f"{name}.seal", "--since", "soon")
    yield run("audit", "nowhere.toml", f"{name}.seal")
    yield run("audit", "no-policy.toml", f"{name}.seal")
    yield run("audit", "only-vmm.toml", "nowhere.seal")


EVERY: dict[str, Callable[[str], Iterator[str]]] = {
    "script": script, "report": report, "verify": verify, "api": dataframes,
    "audit-every-claim": audit("every-claim"),
}  # fmt: skip
"""Of every recording, there is one file of each of these."""
CASES = {(name, group): made for name in recordings() for group, made in EVERY.items()} | {
    (name, f"audit-{policy}"): audit(policy) for name in (*REAL, "story") for policy in policies()
}
CASES["debian-7.3", "statement"] = statement
CASES["verdicts", "statement"] = statement
CASES["verdicts", "refused"] = refused
CASES["+".join(REAL), "compared"] = compared
CASES["killed+story", "compared"] = compared
CASES["killed+verdicts", "compared"] = compared


# ---- what is kept -----------------------------------------------------------------------------


def kept(name: str, group: str) -> Path | None:
    """The file of this golden, packed or not."""
    plain = KEPT / name / f"{group}.txt"
    return next((path for path in (plain, _packed(plain)) if path.exists()), None)


def _packed(path: Path) -> Path:
    return path.with_name(path.name + ".xz")


def read(path: Path) -> str:
    raw = path.read_bytes()
    return (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode()


def keep(name: str, group: str, found: str) -> None:
    """Writes it, if it is another one: packing it again may give other bytes elsewhere."""
    before = kept(name, group)
    if before:
        if read(before) == found:
            return
        before.unlink()
    path, raw = KEPT / name / f"{group}.txt", found.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(found) < PACKED_FROM:
        path.write_bytes(raw)
    else:
        _packed(path).write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))


def difference(before: str, found: str) -> str:
    """A short unified diff from the first line that is another, and the command it belongs to."""
    old, new = before.split("\n"), found.split("\n")
    pairs = enumerate(zip(old, new, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(old), len(new)))
    command = next((x for x in old[at::-1] if x.startswith(("$ ", "# "))), "")
    one, two = (lines[at] if at < len(lines) else "" for lines in (old, new))
    # Lines of JSON and HTML may be long: all are cut to where the first one differs.
    same = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0)
    column = max(0, same - SHOWN_WIDTH // 4)
    left, right = (
        [line[column:][:SHOWN_WIDTH] for line in lines[max(0, at - 2) : at + SHOWN_LINES]]
        for lines in (old, new)
    )
    shown = difflib.unified_diff(left, right, "kept", "found", lineterm="")
    return "\n".join([f"line {at + 1}, column {column + 1}, of: {command[:SHOWN_WIDTH]}", *shown])


def _marks(case: tuple[str, str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if case[0].startswith(REAL) else []


@pytest.mark.parametrize(
    ("name", "group"),
    [pytest.param(*case, id="-".join(case), marks=_marks(case)) for case in CASES],
)
def test_gives_what_it_gave(name: str, group: str, tmp_path: Path) -> None:
    with machine(tmp_path):
        found = "".join(CASES[name, group](name))
    assert str(tmp_path) not in found, "it would be another one next time"
    if os.environ.get("REDRAW"):
        keep(name, group, found)
    path = kept(name, group)
    assert path, "never kept; see the top of this file"
    before = read(path)
    if before != found:
        pytest.fail(
            f"{path.relative_to(HERE)} is another one; if that is right, see the top of "
            f"{Path(__file__).name}\n{difference(before, found)}",
            pytrace=False,
        )


def test_nothing_else_is_kept() -> None:
    wanted = {kept(*case) for case in CASES}
    assert {path for path in KEPT.rglob("*") if path.is_file()} == wanted
    data = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in data) < MOST_BYTES


def test_a_difference_is_shown_where_it_begins() -> None:
    before = "$ sealsnoop x\n" + "a" * 500 + "1" + "b" * 500 + "\nsame\n"
    shown = difference(before, before.replace("1", "2"))
    assert shown.splitlines()[0] == "line 2, column 461, of: $ sealsnoop x"
    assert "-" + "a" * 40 + "1" + "b" * 119 in shown
    assert "+" + "a" * 40 + "2" + "b" * 119 in shown
    assert difference("a\nb", "a").endswith("-b")
