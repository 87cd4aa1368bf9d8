"""Policies: what is read, and that every error names file, line, key and the nearest known word."""

import contextlib
import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.audit.claims import CHECKS
from tracer.audit.forms import line_of, places
from tracer.audit.policy import (
    CLAIMS,
    KINDS,
    WAYS,
    Actor,
    PolicyError,
    Scope,
    load,
    needed,
    parse,
    schema,
)
from tracer.errors import UserError
from tracer.filter.grammar import matches

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "samples/policies").glob("*.toml"))

GOOD = b'''
name = "x"
text = """
claim = 1
[scope]
kind = "nothing"
"""

[scope]
kind = ["memfd"]
"where" = "name:~ram"

[[claim]]
claim = "mapped-only-by"
by = [
  "vmm",
  { comm = "virtiofsd*", uid = [0, 7] },
]
children = true

[[claim]]
claim = "never-mapped"
scope = { kind = "hugetlb" }

[[claim]]
claim = "never-mapped"
text = "why"
'''


def test_a_policy_is_read_as_it_is_written() -> None:
    policy = parse(GOOD, "p.toml")
    first, second, third = policy.claims
    assert policy.name == "x"
    assert first.by == (Actor("vmm"), Actor(comm=("virtiofsd*",), uid=(0, 7)))
    assert list(map(str, first.by)) == ["vmm", "comm=virtiofsd* uid=0,7"]
    assert first.children
    assert first.scope == third.scope == Scope(kind=("memfd",), where="name:~ram")
    assert second.scope == Scope(kind=("hugetlb",))
    assert [one.id for one in policy.claims] == ["mapped-only-by", "never-mapped", "never-mapped-2"]
    assert third.text == "why"
    assert second.text == CLAIMS["never-mapped"].text


ERRORS: dict[str, tuple[bytes, bytes, int, str, str]] = {
    "unknown key": (b'name = "x"', b'nam = "x"', 2, "nam", "did you mean name?"),
    "unknown claim": (b'"mapped-only-by"', b'"mapped-only"', 14, "claim[1].claim",
                      "did you mean mapped-only-by?"),
    "unknown actor": (b'"vmm",', b'"vm",', 15, "claim[1].by[1]", "did you mean vmm?"),
    "unknown actor key": (b"comm =", b"com =", 15, "claim[1].by[2].com", "did you mean comm?"),
    "unknown kind": (b'["memfd"]', b'["memf"]', 10, "scope.kind[1]", "did you mean memfd?"),
    "unknown scope key": (b'kind = ["memfd"]', b'kinds = ["memfd"]', 10, "scope.kinds",
                          "did you mean kind?"),
    "key of another claim": (b'text = "why"', b'by = "vmm"', 27, "claim[3].by", "has no key 'by'"),
    "bad filter": (b"name:~ram", b"nme:~ram", 11, "scope.where", "did you mean name?"),
    "wrong type": (b'"where" = "name:~ram"', b'"where" = 5', 11, "scope.where", "not a number"),
    "a boolean is no number": (b"[0, 7]", b"[true]", 15, "claim[1].by[2].uid[1]", "a boolean"),
    "below 0": (b"[0, 7]", b"[-1]", 15, "claim[1].by[2].uid[1]", "from 0 to"),
    "empty list": (b'["memfd"]', b"[]", 10, "scope.kind", "matches nothing"),
    "empty text": (b'name = "x"', b'name = ""', 2, "name", "an empty text"),
    "a command that none can be": (b"virtiofsd*", b"qemu-system-x86_64", 15, "claim[1].by[2].comm",
                                   "of this one it keeps 'qemu-system-x86'"),
    "too long in spite of a star": (b"virtiofsd*", b"*qemu-system*x86_64", 15,
                                    "claim[1].by[2].comm", "keeps 15 bytes"),
    "no name": (b'name = "x"\n', b"\n", 1, "", "needs the key name"),
    "no claim word": (b'claim = "never-mapped"\ntext = "why"', b'text = "why"', 25, "claim[3]",
                      "needs the key claim"),
    "no by": (b'by = [\n  "vmm",\n  { comm = "virtiofsd*", uid = [0, 7] },\n]', b"", 13, "claim[1]",
              "needs the key by"),
    "same id": (b'text = "why"', b'id = "mapped-only-by"', 27, "claim[3].id", "already"),
    "newer format": (b'name = "x"', b'name = "x"\nformat = 2', 3, "format", "from 0 to 1"),
    "older format": (b'name = "x"', b'name = "x"\nformat = 0', 3, "format", "format 1"),
    "memslot false": (b'kind = ["memfd"]', b"memslot = false", 10, "scope.memslot", "only be true"),
    "memslot of nobody": (b'kind = ["memfd"]', b"memslot = {}", 10, "scope.memslot", "is empty"),
    "one bracket": (b'[[claim]]\nclaim = "mapped', b'[claim]\nclaim = "mapped', 21, "",
                    "Cannot"),
    "not TOML": (b'claim = "never-mapped"\nscope', b'claim = "never-mapped\nscope', 22, "",
                 "Illegal"),
    "twice": (b'name = "x"', b'name = "x"\nname = "y"', 3, "", "overwrite"),
    "not UTF-8": (b'text = "why"', b'text = "\xff"', 27, "", "UTF-8"),
    "a control character": (b'name = "x"', b'nam\\u001b = "x"', 2, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_file_line_key_and_what_was_meant(name: str) -> None:
    old, new, line, key, problem = ERRORS[name]
    assert GOOD.count(old) >= 1
    head, _, tail = GOOD.rpartition(old)
    with pytest.raises(PolicyError) as raised:
        parse(head + new + tail, "p.toml")
    error = raised.value
    assert (error.file, error.line, error.key) == ("p.toml", line, key), str(error)
    assert problem in error.problem
    assert str(error).startswith(f"p.toml:{line}: {key}")
    assert error.exit_code == 1
    assert str(error).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "x"', "needs the key claim"),
        ('name = "x"\nclaim = []', "there is no claim"),
        ('name = "x"\n[claim]\nclaim = "never-mapped"', "with two brackets"),
        ('name = "x"\nclaim = [1]', r"written \[\[claim\]\]"),
        ('name = "x"\n[[claim]]\nclaim = "never-mapped"', "no scope"),
        ('name = "x"\n[scope]\n[[claim]]\nclaim = "never-mapped"', "no scope"),
    ],
)
def test_a_policy_that_would_audit_nothing(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        parse(text.encode())


def test_files_that_are_no_policies(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("a\0b")):
        with pytest.raises(UserError, match="policy"):
            load(path)
    big = tmp_path / "big"
    big.write_bytes(b"#" * (2 << 20))
    with pytest.raises(PolicyError, match="larger than"):
        load(big)
    deep = tmp_path / "deep"
    deep.write_bytes(b"x = " + b"[" * 100_000)
    with pytest.raises(PolicyError):
        load(deep)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    for whole in (data, GOOD + data, GOOD[:60] + data + GOOD[60:]):
        with contextlib.suppress(PolicyError):
            parse(whole)


def test_lines_of_keys() -> None:
    text = GOOD.decode()
    found = places(text)
    lines = text.splitlines()
    assert lines[line_of(found, ("scope", "where")) - 1] == '"where" = "name:~ram"'
    assert lines[line_of(found, ("claim", 0, "children")) - 1] == "children = true"
    assert line_of(found, ("claim", 2)) == 25
    assert line_of(found, ("claim", 0, "by", 1, "uid", 0)) == 15
    assert line_of(found, ("nothing",)) == 1
    assert line_of(places("a.b.c = 1\n[x.'y z'.\"w\"]\nk = 2"), ("x", "y z", "w", "k")) == 3
    assert line_of(places("a = '''\nb = 1\n'''\nb = 2"), ("b",)) == 4
    assert line_of(places('a = "\\"#[" # x = [\nb = 2'), ("b",)) == 2


@pytest.mark.parametrize(
    "comm",
    ["qemu-system-x86", "qemu-system-x86*", "*" * 9 + "?" * 20, r"\\xff" * 15, r"vm\\x*5\\x5*6789",
     "\u00fc" * 7],
)  # fmt: skip
def test_commands_that_there_can_be(comm: str) -> None:
    assert parse(GOOD.replace(b"virtiofsd*", comm.encode())).claims[0].by[1].comm


@pytest.mark.parametrize("comm", ["\u00fc" * 8, r"\\xff" * 16])
def test_a_commands_length_is_in_bytes(comm: str) -> None:
    with pytest.raises(PolicyError, match="keeps 15 bytes"):
        parse(GOOD.replace(b"virtiofsd*", comm.encode()))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_ready_policies(path: Path) -> None:
    policy = load(path)
    assert policy.name == path.stem
    assert policy.claims
    assert policy.text


def test_there_is_one_for_each_use() -> None:
    assert {path.stem for path in SAMPLES} == {
        "confidential-guest", "inaccessible-memfd", "no-unsealed-exec", "only-vmm", "ordinary-qemu",
        "sealed-buffer", "software-protected-guest",
    }  # fmt: skip


def fits(value: Any, form: dict[str, Any]) -> bool:
    """A small JSON Schema check: the words that our schemas use."""
    if "anyOf" in form:
        return any(fits(value, one) for one in form["anyOf"])
    if "oneOf" in form:
        return sum(fits(value, one) for one in form["oneOf"]) == 1
    if "const" in form:
        return bool(value == form["const"] and type(value) is type(form["const"]))
    if "enum" in form:
        return value in form["enum"]
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict,
             "number": (int, float), "null": type(None)}  # fmt: skip
    if not isinstance(value, kinds[form["type"]]):  # type: ignore[arg-type]
        return False
    if isinstance(value, bool) and form["type"] != "boolean":
        return False
    if isinstance(value, dict):
        known = form.get("properties", {})
        more = form.get("additionalProperties", True)
        return (
            set(form.get("required", [])) <= set(value)
            and len(value) >= form.get("minProperties", 0)
            and all(
                fits(one, known[key]) if key in known
                else fits(one, more) if isinstance(more, dict) else more
                for key, one in value.items()
            )
        )  # fmt: skip
    if isinstance(value, list):
        return len(value) >= form.get("minItems", 0) and all(
            fits(one, form["items"]) for one in value
        )
    if isinstance(value, int):
        return bool(form.get("minimum", value) <= value <= form.get("maximum", value))
    return not isinstance(value, str) or len(value) >= form.get("minLength", 0)


def test_the_schema_takes_what_the_parser_takes() -> None:
    import tomllib

    form = schema()
    json.dumps(form)
    for data in (GOOD, *(path.read_bytes() for path in SAMPLES)):
        assert fits(tomllib.loads(data.decode()), form)
    structural = set(ERRORS) - {
        "bad filter", "same id", "older format", "one bracket", "not TOML", "twice", "not UTF-8",
        "a control character", "a command that none can be", "too long in spite of a star",
    }  # fmt: skip
    for name in structural:
        old, new, *_ = ERRORS[name]
        head, _, tail = GOOD.rpartition(old)
        assert not fits(tomllib.loads((head + new + tail).decode()), form), name


def test_every_claim_has_a_check_ways_and_text() -> None:
    assert set(CLAIMS) == set(CHECKS)
    for claim, one in CLAIMS.items():
        assert one.text
        assert set(one.ways) <= set(WAYS)
        for kind in (*KINDS, "unknown"):
            assert set(needed(claim, kind)) <= set(needed(claim, "unknown"))


def test_every_way_knows_every_kind() -> None:
    for way in WAYS.values():
        assert set(way.families) == set(KINDS), way.text


def test_the_families_of_this_recorder_are_spelt_as_it_spells_them() -> None:
    """A misspelt family would make every claim that needs it indeterminate for ever."""
    from tracer.kernel.audit_families import ALL_FAMILIES

    known = {family.name for family in ALL_FAMILIES}
    named = {family for way in WAYS.values() for some in way.families.values() for family in some}
    assert named <= known


HEAD = 'name = "p"\nscope = { kind = "memfd" }\n'


def claims(count: int, more: str = "") -> str:
    return "".join(
        f'[[claim]]\nid = "c{n}"\nclaim = "no-breach"\n{more.format(n)}\n' for n in range(count)
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (claims(257), "claim: 257 claims, and a policy can have 256: make several"),
        (claims(5_000), "5,000 claims, and a policy can have 256"),
        (claims(36_000), "larger than 256 kB: not a policy"),
        (claims(1, f"scope = {{{{ name = '{'*a' * 501}' }}}}"), "1,002 characters, and .* 1,000"),
        (claims(1, f"scope = {{{{ user = {list(range(1001))} }}}}"), "1,001 in one list"),
        (claims(200, "scope = {{ name = ['a{0}', 'b{0}', 'c{0}', 'd{0}', 'e{0}', 'f{0}'] }}"),
         "1,200 names and commands in all claims, and a policy can have 1,000"),
        (claims(33, "scope = {{ where = 'size:>{0}' }}"),
         "33 filters in all claims, and a policy can have 32"),
        (f"x{'.x' * 100_000} = 1", "more than 200 dots on a line"),
        ("".join(f"[x{n}]\n{'.x' * 199}.x = 1\n" for n in range(500)), "Invalid|no key"),
        (f"x = {'[' * 100_000}", "nested too deeply"),
    ],
    ids=str.split("257 5000 36000 name list names filters dots tables nested"),
)  # fmt: skip
def test_what_a_policy_costs_is_bounded(text: str, problem: str) -> None:
    """In a process that is ended when it takes too much of either."""
    program = (
        "import resource, sys\nfrom tracer.audit.policy import PolicyError, parse\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "try: parse(sys.stdin.buffer.read())\nexcept PolicyError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=HEAD + text, capture_output=True, text=True,
        timeout=20, cwd=ROOT,
    )  # fmt: skip
    assert re.search(problem, done.stdout), done


def test_a_policy_of_a_common_size_is_taken() -> None:
    policy = parse((HEAD + claims(256, "text = '{0} ... ... ...'")).encode())
    assert len(policy.claims) == 256


def test_a_hostile_glob_takes_no_time() -> None:
    """'*a*a…b' over 'aaa…' takes for ever where a search goes back."""
    program = (
        "from tracer.filter.grammar import matches\n"
        "assert not matches('*a' * 100 + 'b', 'a' * 249)\n"
        "assert matches('*a' * 100 + '*', 'a' * 249)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20, cwd=ROOT)


@given(st.text("ab*?[\\\n", max_size=8), st.text("ab*?[\\\n", max_size=8))
def test_globs(glob: str, name: str) -> None:
    """As fnmatch has it, whose sets in brackets are none here."""
    literal = glob.replace("[", "[[]")
    assert matches(glob, name) == fnmatch.fnmatchcase(name, literal)
