"""Signed statements, and what verify says of changed ones; the verb from the command line."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.unit.audit.audit_story import Story, policy
from tests.unit.recording.store_records import killed
from tracer.audit import doubts
from tracer.audit import statement as digests
from tracer.audit import statement as dsse
from tracer.audit.statement import PREDICATE, STATEMENT, parts, recheck
from tracer.cli import audit as audit_verb
from tracer.cli.main import main
from tracer.errors import UserError
from tracer.recording import verify
from tracer.recording.reader import Recording
from tracer.recording.verify import VerifyReport

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recording, a policy and a key pair; it is the current one."""
    monkeypatch.chdir(tmp_path)
    story = Story()
    story.create(5, "ram")
    story.map(5)
    story.map(5, 200, 0x20000, comm=b"spy")
    story.write(tmp_path / "a.seal")
    (tmp_path / "p.toml").write_bytes(policy('claim = "mapped-only-by"\nby = ["creator"]'))
    for name in ("key", "other"):
        key = Ed25519PrivateKey.generate()
        (tmp_path / f"{name}.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (tmp_path / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    return tmp_path


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def _signed(run: Run, *more: str) -> None:
    code, _, _ = run(
        "audit", "p.toml", "a.seal", "--statement", "s.json", "--sign", "key.pem", *more
    )
    assert code == 2


def _edit(change: Callable[[dict[str, Any]], None], sign: str | None = None) -> None:
    """Changes what is stated; signs it anew with ``sign``, or keeps the old signature."""
    envelope = json.loads(Path("s.json").read_text())
    body = json.loads(base64.b64decode(envelope["payload"]))
    change(body)
    payload = json.dumps(body).encode()
    if sign:
        envelope = dsse.sign(payload, dsse.private_key(sign))
    else:
        envelope["payload"] = base64.b64encode(payload).decode()
    Path("s.json").write_text(json.dumps(envelope))


WHOLE = ("--key", "key.pub", "--recording", "a.seal", "--policy", "p.toml")


def test_a_statement_that_holds(run: Run) -> None:
    _signed(run, "--html", "r.html", "--sarif", "r.sarif")
    code, out, _ = run("verify", "s.json", *WHOLE, "--report", "r.html", "--report", "r.sarif")
    assert code == 0, out
    assert out.startswith("HOLDS: ")
    assert "the result, computed again: fail" in out
    assert "not checked" not in out


def test_it_holds_elsewhere_too(run: Run, place: Path) -> None:
    _signed(run)
    (place / "elsewhere").mkdir()
    shutil.move(place / "a.seal", place / "elsewhere/b.seal")
    code, out, _ = run("verify", "s.json", "--key", "key.pub", "--recording", "elsewhere/b.seal")
    assert code == 0, out


def test_what_was_not_checked_is_said(run: Run) -> None:
    _signed(run)
    code, out, _ = run("verify", "s.json")
    assert code == 0
    assert "not checked: the signature" in out
    assert "not checked: recording and result" in out


def test_another_key(run: Run) -> None:
    _signed(run)
    code, out, _ = run("verify", "s.json", "--key", "other.pub")
    assert code == 2
    assert "the statement was changed, or somebody else signed it" in out


def test_a_changed_result(run: Run) -> None:
    def to_pass(body: dict[str, Any]) -> None:
        body["predicate"]["result"]["recordings"][0]["claims"][0]["result"] = "pass"

    _signed(run)
    _edit(to_pass)
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "the signature" in out
    said = 'result.recordings[0].claims[0].result: the statement says "pass", computed again'
    assert said in out
    # Whoever has the key can sign a lie; computing it again shows that.
    _edit(lambda body: None, "key.pem")
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "right: the signature" in out
    assert said in out


def test_a_changed_recording_names_the_bytes(run: Run, place: Path) -> None:
    _signed(run)
    part = place / "a.seal/events/000000.parquet"
    data = bytearray(part.read_bytes())
    data[5000] ^= 1
    part.write_bytes(data)
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "events/000000.parquet: bytes 4096 to " in out


def test_files_that_are_missing_or_added(run: Run, place: Path) -> None:
    _signed(run)
    (place / "a.seal/end.json").unlink()
    (place / "a.seal/more").write_text("x")
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "end.json is missing" in out
    assert "more was not there" in out


def test_another_policy(run: Run, place: Path) -> None:
    _signed(run)
    text = (place / "p.toml").read_text()
    (place / "p.toml").write_text(text.replace("creator", "vmm"))
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    first = text.index("creator")
    assert f"p.toml: bytes {first} to {first + 2} differ" in out


def test_the_digests_in_a_statement(run: Run, place: Path) -> None:
    """Of the policy's bytes, and of the hook plan as JSON that is the same everywhere."""
    assert run("audit", "p.toml", "a.seal", "--statement", "s.json")[0] == 2
    predicate = json.loads(Path("s.json").read_text())["predicate"]
    policy_bytes = (place / "p.toml").read_bytes()
    assert predicate["policy"]["sha256"] == sha256(policy_bytes).hexdigest()
    assert predicate["policy"]["source"].encode() == policy_bytes
    [recording] = predicate["recordings"]
    hooks = json.loads((place / "a.seal/manifest.json").read_text())["hooks"]
    plan = json.dumps(hooks, sort_keys=True, separators=(",", ":")).encode()
    assert recording["hook_plan_sha256"] == sha256(plan).hexdigest()
    last = (place / "a.seal/chain.jsonl").read_text().splitlines()[-1]
    assert recording["chain"] == json.loads(last)["digest"]


def test_a_policy_that_is_not_the_one_of_its_digest(run: Run) -> None:
    def other(body: dict[str, Any]) -> None:
        body["predicate"]["policy"]["source"] += "# more\n"

    _signed(run)
    _edit(other, "key.pem")
    code, out, _ = run("verify", "s.json", "--key", "key.pub")
    assert code == 2
    assert "wrong: the policy in the statement is not the one of its digest." in out
    assert out.count("wrong: ") == 1


def test_another_hook_plan(run: Run) -> None:
    def other(body: dict[str, Any]) -> None:
        body["predicate"]["recordings"][0]["hook_plan_sha256"] = "0" * 64

    _signed(run)
    _edit(other, "key.pem")
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "wrong: a.seal: the hook plan is another." in out
    assert out.count("wrong: ") == 1


def test_a_changed_report(run: Run, place: Path) -> None:
    _signed(run, "--html", "r.html")
    text = (place / "r.html").read_text()
    (place / "r.html").write_text(text.replace("fail", "pass"))
    code, out, _ = run("verify", "s.json", "--report", "r.html")
    assert code == 2
    assert re.search(r"r\.html: bytes \d+ to \d+ were changed", out)
    code, out, _ = run("verify", "s.json", "--report", "p.toml")
    assert code == 2
    assert "names no such report" in out


def test_an_unsigned_statement(run: Run) -> None:
    assert run("audit", "p.toml", "a.seal", "--statement", "s.json")[0] == 2
    body = json.loads(Path("s.json").read_text())
    assert body["_type"] == "https://in-toto.io/Statement/v1"
    names = [one["name"] for one in body["subject"]]
    assert "a.seal/chain.jsonl" in names
    assert "a.seal/manifest.json" in names
    assert run("verify", "s.json", "--recording", "a.seal")[0] == 0
    code, out, _ = run("verify", "s.json", "--key", "key.pub")
    assert code == 2
    assert "there is no signature" in out


def test_the_signature_is_dsse(place: Path, run: Run) -> None:
    """By the protocol's own words, not by our code."""
    _signed(run)
    envelope = json.loads(Path("s.json").read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    key = dsse.private_key("key.pem").public_key()
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


_ENVELOPE = '{"payloadType": "application/vnd.in-toto+json", '


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "1", '{"payloadType": "x"}', "{}", '{"_type": 1}', "[" * 100_000,
        _ENVELOPE + '"payload": "?", "signatures": []}',
        _ENVELOPE + '"payload": "e30=", "signatures": 1}',
        _ENVELOPE + '"payload": "W10=", "signatures": []}',
    ],
)  # fmt: skip
def test_what_is_no_statement(run: Run, text: str) -> None:
    Path("s.json").write_text(text)
    code, _, err = run("verify", "s.json", "--recording", "a.seal")
    assert code == 1
    assert err.startswith("sealsnoop: ")


@pytest.mark.parametrize("recordings", [None, 5, "x", {}, ["x"], [{}, 5]])
def test_a_statement_that_names_no_recordings(recordings: object) -> None:
    body = {"_type": STATEMENT, "predicateType": PREDICATE, "predicate": {"recordings": recordings}}
    with pytest.raises(ValueError, match="it names no recordings"):
        parts(body)


def test_a_statement_that_cannot_be_read() -> None:
    """In the system's words, without Python's number and without the name again."""
    with pytest.raises(UserError) as caught:
        recheck("gone\n.json", None, [], None)
    assert str(caught.value) == r"gone\n.json: No such file or directory"


def test_keys_that_are_none(run: Run, place: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    _signed(run)
    ec = generate_private_key(SECP256R1())
    (place / "ec.pem").write_bytes(
        ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    for key in ("nothing.pem", "p.toml", "key.pub", "ec.pem"):
        code, _, err = run("audit", "p.toml", "a.seal", "--statement", "x.json", "--sign", key)
        assert code == 1
        assert f"--sign {key}" in err
    for key in ("nothing.pem", "p.toml", "key.pem"):
        assert run("verify", "s.json", "--key", key)[0] == 1


def test_blocks_name_what_changed() -> None:
    then = digests.of_bytes(bytes(100_000))
    data = bytearray(100_000)
    data[4095] = data[4096] = data[99_999] = 1
    now = digests.of_bytes(bytes(data))
    assert list(digests.differences(then, now, "f")) == [
        "f: bytes 0 to 8191 were changed.",
        "f: bytes 98304 to 99999 were changed.",
    ]
    assert not list(digests.differences(then, then, "f"))
    assert digests.block_size(1 << 30) == 1 << 22


@pytest.mark.parametrize(
    "stated",
    [
        {"block": 8192},
        {"block": "x"},
        {"blocks": []},
        {"blocks": 5},
        {"bytes": True},
        {"sha256": 1},
    ],
)
@pytest.mark.parametrize("changed", [False, True])
def test_unequal_digests_are_wrong_whatever_else_is_stated(
    stated: dict[str, object], changed: bool
) -> None:
    then = digests.of_bytes(bytes(5000)) | stated
    assert list(digests.differences(then, digests.of_bytes(bytes([changed]) * 5000), "f"))


def test_the_subject_is_compared(run: Run) -> None:
    """What other tools look at must be what the statement tells of."""

    def other(body: dict[str, Any]) -> None:
        body["subject"][0]["digest"]["sha256"] = "0" * 64

    _signed(run)
    _edit(other, "key.pem")
    code, out, _ = run("verify", "s.json", *WHOLE)
    assert code == 2
    assert "its subject is not what it tells of" in out
    assert out.count("wrong: ") == 1


# Somebody else can write to the folder.


def _exchange(path: Path, by: Path) -> None:
    for file in by.rglob("*.parquet"):
        os.replace(shutil.copy(file, path / "new"), path / file.relative_to(by))


def test_what_is_exchanged_behind_the_check_changes_no_answer(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that are judged are those of the digests, whoever moves files meanwhile."""
    story = Story()
    story.create(5, "ram")
    story.map(5)
    story.write(place / "harmless.seal")
    assert run("audit", "p.toml", "harmless.seal")[0] == 0
    usual = verify.check

    def then_exchange(recording: Recording) -> VerifyReport:
        report = usual(recording)
        _exchange(place / "a.seal", place / "harmless.seal")
        return report

    monkeypatch.setattr(doubts, "check", then_exchange)
    code, out, _ = run("audit", "p.toml", "a.seal")
    assert code == 3
    assert "events/000000.parquet" in out


def test_a_statement_tells_of_what_was_audited(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of what lies in its place when the digests are made."""
    (place / "pass.toml").write_bytes(policy('claim = "never-pinned-except"'))
    monkeypatch.setattr(
        audit_verb,
        "_write_reports",
        lambda *_: (place / "a.seal/end.json").write_text("{}") and {},
    )
    code, _, err = run("audit", "pass.toml", "a.seal", "--statement", "s.json")
    assert code == 1
    assert "end.json was changed while it was audited" in err
    assert not (place / "s.json").exists()


# The verb.


def test_exit_codes(run: Run, place: Path) -> None:
    empty = policy('claim = "never-mapped"', scope='kind = "hugetlb"')
    (place / "none.toml").write_bytes(empty)
    (place / "pass.toml").write_bytes(policy('claim = "never-pinned-except"'))
    assert run("audit", "p.toml", "a.seal")[0] == 2
    assert run("audit", "pass.toml", "a.seal")[0] == 0
    assert run("audit", "none.toml", "a.seal")[0] == 4
    killed(place / "a.seal")
    assert run("audit", "pass.toml", "a.seal")[0] == 3
    assert run("audit", "p.toml", "a.seal")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        (), ("p.toml",), ("nothing.toml", "a.seal"), ("p.toml", "nothing.seal"),
        ("p.toml", "a.seal", "--bogus"), ("p.toml", "a.seal", "--top", "0"),
        ("p.toml", "a.seal", "--top", "x"), ("p.toml", "a.seal", "--live"),
        ("p.toml", "a.seal", "--sign", "key.pem"), ("p.toml", "a.seal", "-o", "x"),
        ("p.toml", "--live", "--", "true"), ("p.toml", "--"),
        ("p.toml", "a.seal", "--html", "no/such/place"), ("p.toml", "p.toml"),
    ],
)  # fmt: skip
def test_a_tool_that_failed_says_1(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run("audit", *words)
    assert code == 1
    assert not out
    assert err.startswith("sealsnoop: ")


def test_json_and_schemas(run: Run) -> None:
    code, out, _ = run("audit", "p.toml", "a.seal", "--json")
    assert code == json.loads(out)["exit_code"] == 2
    for which in ("policy", "result"):
        code, out, _ = run("audit", "--schema", which)
        assert code == 0
        assert json.loads(out)["$schema"].endswith("2020-12/schema")


def test_where_asks_for_what_objects_have(run: Run, place: Path) -> None:
    text = policy('claim = "never-mapped"', scope='where = "op:mmap"')
    (place / "p.toml").write_bytes(text)
    code, _, err = run("audit", "p.toml", "a.seal")
    assert code == 1
    assert "objects have no op" in err


def test_several_recordings(run: Run, place: Path) -> None:
    Story().write(place / "b.seal")
    code, out, _ = run("audit", "p.toml", "b.seal", "a.seal", "--json")
    assert code == 2
    assert [one["result"] for one in json.loads(out)["recordings"]] == ["not-applicable", "fail"]


def test_recording_first(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the recorder is asked for; it makes the recording that is then audited."""
    from tracer.cli import record

    asked: list[Any] = []

    def recorded(verb: record.Record, args: Any) -> int:
        asked.append((verb, args))
        shutil.copytree(place / "a.seal", args.output)
        return 7

    monkeypatch.setattr(record.Record, "run", recorded)
    code, out, err = run("audit", "p.toml", "-o", "b.seal", "--duration", "3", "--", "prog", "-x")
    assert code == 2
    assert "b.seal" in out
    assert "the command exited with 7" in err
    ((verb, args),) = asked
    assert (args.output, args.command, args.duration) == ("b.seal", ["prog", "-x"], 3.0)
    assert args.unsealable
    assert args.audit
    assert verb.whole_host
    assert not args.pid
    code, out, _ = run("audit", "p.toml", "--live")
    assert code == 2
    assert asked[1][1].command == []
    assert Path(asked[1][1].output).is_dir()


@pytest.mark.slow
def test_a_reader_that_leaves_changes_no_result(place: Path) -> None:
    import subprocess
    import sys

    for words, code in ((("audit", "p.toml", "a.seal"), 2), (("verify", "a.seal"), 0)):
        process = subprocess.Popen(
            [sys.executable, "-m", "tracer.cli.main", *words],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert process.stdout
        process.stdout.close()
        assert process.wait() == code
