"""The filter language: what it reads, how it writes it back, and how it says what is wrong."""

import argparse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.imported import HEAVY, imported
from tracer.cli.verb import filter_help, filter_option, filter_query
from tracer.errors import UserError
from tracer.filter.grammar import QueryError
from tracer.filter.query import FLAG_WORDS, KEYS, Key, Query, find, parse
from tracer.labels import marks
from tracer.words import LETTERS, Flag

CANONICAL = {
    "": "",
    " \t ": "",
    "op:mmap": "op:mmap",
    "  OP:MMAP,Write  op:mmap ": "op:mmap,write op:mmap",
    "op:mmap op:mmap": "op:mmap",
    "op:op_77 kind:kind_9": "op:op_77 kind:kind_9",
    "op:M* op:~SEAL": "op:m* op:~seal",
    "!verdict:blocked,Breach": "!verdict:blocked,breach",
    "expected:eperm,OK": "expected:EPERM,ok",
    "comm:qemu-system-x86*": "comm:qemu-system-x86*",
    "qemu-system-x86_64": "qemu-system-x86_64",
    'comm:"a b"*': 'comm:"a b"*',
    'comm:"ab"*"c"?': "comm:ab*c?",
    'name:"a ""b"""': 'name:"a ""b"""',
    'name:""': 'name:""',
    "name:memfd:ram": "name:memfd:ram",
    'name:"~x" name:~x name:"*"': 'name:"~x" name:~x name:"*"',
    r"name:a\nb\\c": r"name:a\nb\\c",
    'ram "a:b" "and" "-x" ~ram': 'ram "a:b" "and" "-x"',
    'a*b,"c d" !qemu': 'a*b,"c d" !qemu',
    "reason:none hole:ANY rule:*grow*": "reason:none hole:any rule:*grow*",
    'reason:"none" rule:"own"': 'reason:"none" rule:"own"',
    'rule:"write-grow",*own hole:~merge': "rule:write-grow,*own hole:~merge",
    "ret:eperm,EWOULDBLOCK,E135": "ret:EPERM,EAGAIN,E135",
    "ret:E134,EFTYPE,e1,EDEADLOCK": "ret:EFTYPE,EFTYPE,EPERM,EDEADLK",
    "answer:OK errno:error ret:unknown": "ret:ok ret:error ret:unknown",
    "ret:>0 ret:0x10 ret:-1 ret:4KiB": "ret:>0 ret:0x10 ret:-1 ret:4K",
    "size:>1m size:=4kb size:1.50G..2g": "size:>1M size:4K size:1.5G..2G",
    "size:..1M size:1M.. size:007": "size:..1M size:1M.. size:7",
    "duration:>=1.5µs duration_ns:5 duration:1S": "duration:>=1.5us duration:5 duration:1s",
    "pid:100..200,300": "pid:100..200,300",
    "fd:UNKNOWN,-1": "fd:unknown,-1",
    "seals:write": "seals:+WRITE",
    "seals:+wg,-F_SEAL_SHRINK|S": "seals:+GROW|WRITE,-SEAL|SHRINK",
    "seals:=Ss-w-- seals:=------": "seals:=SEAL|SHRINK|WRITE seals:none",
    "seals:=sg,=0 seals:any,unknown,none": "seals:=SHRINK|GROW,none seals:any,unknown,none",
    "seals:+INACCESSIBLE seals:+0x40 seals:+exec|X": "seals:+INACCESSIBLE seals:+0x40 seals:+EXEC",
    "seals:X,=0x21,=-s---X": "seals:+0x20,=SEAL|0x20,=SHRINK|0x20",
    "seals:=F_SEAL_INACCESSIBLE|seal": "seals:=SEAL|INACCESSIBLE",
    "flags:raced_seals,no-entry,CHECK_REACHED": "flag:raced,no-entry,check-reached",
    "object:5:1234 object:1:2:3": "object:5:1234 object:1:2:3",
    "object:0:5/1234 object:259:3/7:9": "object:5:1234 object:271581187:7:9",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_canonical(text: str, canonical: str) -> None:
    query = parse(text)
    assert str(query) == canonical
    assert parse(canonical) == query


# text, the bad word, the word that was probably meant, something of the message
ERRORS: list[tuple[str, str, str | None, str]] = [
    ("op:mmap opp:read", "opp", "op", "no key 'opp'; did you mean op?"),
    ("zzz:1", "zzz", None, "there are op, kind, name, comm, seals"),
    (":x", "", None, "no key ''"),
    ("-op:mmap", "-op:mmap", "!op:mmap", "is written !op:mmap"),
    ("x -foo", "-foo", None, 'is written !foo; for the text write "-foo"'),
    ("(op:mmap", "(op", "op", "did you mean op?"),
    ("op:mmap and ret:ok", "and", None, "all words must hold"),
    ("a || b", "||", None, "a comma between values means 'or'"),
    ("size>1M", "size>1M", "size:>1M", "comes a colon: size:>1M"),
    ("size>=1M", "size>=1M", "size:>=1M", "comes a colon"),
    ("op==mmap", "op==mmap", "op:mmap", "comes a colon"),
    ("op!=mmap", "op!=mmap", "!op:mmap", "comes a colon"),
    ("!op!=mmap", "!op!=mmap", "op:mmap", "comes a colon"),
    ("name~ram", "name~ram", "name:~ram", "comes a colon"),
    ("op:", "", None, "op: a value is missing; for example op:mmap,write"),
    ("op:mmap,,read", "", None, "nothing stands beside a comma"),
    ("op:mmap,", "", None, "nothing stands beside a comma"),
    (",", "", None, "nothing stands beside a comma"),
    ("!", "!", None, "one ! stands before a word"),
    ("!!x", "!!x", None, "one ! stands before a word"),
    ('x name:"abc d', '"abc d', None, "never closed"),
    ("op:mapp", "mapp", "map", "no op 'mapp'; did you mean map?"),
    ('op:read,"m p"', '"m p"', "map", "no op 'm p'"),
    ("op:zz*", "zz*", None, "no op is like zz*"),
    ("op:op_", "op_", None, "no op 'op_'"),
    ("verdict:Breech", "Breech", "breach", "no verdict 'Breech'; did you mean breach?"),
    ("kind:x", "x", None, "there are unknown, memfd, hugetlb"),
    ("expected:EPREM", "EPREM", "EPERM", "did you mean EPERM?"),
    ("name:~", "~", None, "no text to look for"),
    ('""', '""', None, "no text to look for"),
    ("size:1X", "1X", None, "not a number (example: size:>1M; units are B, K, M, G, T)"),
    ("size:>", ">", None, "not a number"),
    ("size:..", "..", None, "not a number"),
    ("size:1..2..3", "1..2..3", None, "not a number"),
    ("size:2M..1M", "2M..1M", None, "ends before it starts"),
    ("size:0.3K", "0.3K", None, "not a whole number"),
    ("size:1e6", "1e6", None, "not a number"),
    ("size:٣", "٣", None, "not a number"),
    ("size:" + "9" * 5000, "9" * 5000, None, "not a number"),
    ("pid:1K", "1K", None, "it has no units"),
    ("duration:5nsb", "5nsb", None, "units are ns, us, ms, s"),
    ("duration:5m", "5m", None, "not a number"),
    ("ret:EPREM", "EPREM", "EPERM", "did you mean EPERM?"),
    ("ret:eror", "eror", "error", "did you mean error?"),
    ("ret:E4096", "E4096", None, "no answer 'E4096'"),
    ("ret:errorcode", "errorcode", "error", "no answer"),
    ("seals:+WRIT", "+WRIT", "WRITE", "did you mean WRITE?"),
    ("seals:unknwon", "unknwon", "unknown", "did you mean unknown?"),
    ("seals:qq", "qq", None, "the letters SsgwfX"),
    ("seals:+", "+", None, "here is no seal"),
    ("seals:+SHRINK|", "+SHRINK|", None, "here is no seal"),
    ("seals:Ss-w--", "Ss-w--", "=Ss-w--", "need a =: =Ss-w--"),
    ("seals:--gw--", "--gw--", "=--gw--", "need a ="),
    ("seals:+0", "+0", None, "seals:none"),
    ("seals:-none", "-none", None, "seals:none"),
    ("seals:0x100000000", "0x100000000", None, "no seal"),
    ("seals:=SHRINK,GROW", "GROW", None, "write =SHRINK|GROW for both, =SHRINK,=GROW for either"),
    ("rule:write-saeled", "write-saeled", "write-sealed", "did you mean write-sealed?"),
    ("hole:x", "x", None, "no hole 'x'; there are future-write-merge"),
    ("flag:racd", "racd", "raced", "did you mean raced?"),
    ("comm:qemu-system-x86_64", "qemu-system-x86_64", None, "it keeps 'qemu-system-x86'"),
    ("comm:vmm,~qemu-system-x86_64", "~qemu-system-x86_64", None, "keeps 15 bytes"),
    ("object:7", "7", None, "DEV:INO, DEV:INO:GEN or MAJOR:MINOR/INO"),
    ("object:a:b", "a:b", None, "no memory file"),
]


@pytest.mark.parametrize(("text", "word", "near", "message"), ERRORS)
def test_error_points_at_the_word(text: str, word: str, near: str | None, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    error = caught.value
    assert isinstance(error, UserError)
    assert (error.word, error.near, error.exit_code) == (word, near, 1)
    assert message in error.problem
    first, shown, carets = str(error).splitlines()
    assert first == f"filter: {error.problem}"
    start, length = len(carets) - len(carets.lstrip()), carets.count("^")
    assert carets == " " * start + "^" * length
    if len(text) < 70:
        assert shown == f"  {text}"
        assert length == max(1, len(word))
        assert word in ("", shown[start : start + length])
        assert start == 2 + error.start


def test_error_in_a_long_filter_shows_the_place() -> None:
    text = "op:mmap " * 40 + "opp:read" + " op:mmap" * 40
    with pytest.raises(QueryError) as caught:
        parse(text)
    _, shown, carets = str(caught.value).splitlines()
    assert len(shown) < 80
    assert shown[carets.index("^") : len(carets)] == "opp"


def test_hostile_text_in_an_error_is_harmless() -> None:
    with pytest.raises(QueryError) as caught:
        parse("漢\u202e\x1b[2J opp:\udcff 字")
    message = str(caught.value)
    assert all(line.isprintable() for line in message.split("\n"))
    assert message.split("\n")[1:] == [
        "  漢\\u202e\\x1b[2J opp:\\xff 字",
        "                  ^^^",  # two cells for the first character
    ]


WORDS = ["..", "WRITE", "mmap", "EPERM", "1M", "0x1", "none", "and", "raced", "x", "7", LETTERS]
ODD = ["\x85", "\x1c", "\u017f", "\u0130", "\u212a", "\udc80"]  # blanks, odd cases, no UTF-8
NAMES = [name for key in KEYS for name in (key.name, *key.aliases)]
PIECES = st.sampled_from([*NAMES, *WORDS, *ODD, *'!-~*?,:" |+=<>.\\()'])
ANY_TEXT = st.text() | st.lists(PIECES).map("".join)


def parses_or_is_a_query_error(text: str) -> None:
    found: Query | QueryError
    try:
        found = parse(text)
    except QueryError as error:
        found = error
    if isinstance(found, QueryError):
        assert 0 <= found.start <= found.end <= len(text)
        return
    query = found
    assert parse(str(query)) == query
    assert str(parse(str(query))) == str(query)
    assert query.columns() == frozenset().union(*(term.columns() for term in query.terms))


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text(text: str) -> None:
    parses_or_is_a_query_error(text)


@settings(deadline=None)
@given(st.sampled_from(KEYS), ANY_TEXT)
def test_any_text_behind_a_key(key: Key, text: str) -> None:
    parses_or_is_a_query_error(f"{key.name}:{text}")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_the_table_is_true(key: Key) -> None:
    query = parse(key.example)
    assert [term.key for term in query.terms] == [key.name]
    assert query.columns() <= set(key.columns)
    assert str(query) == key.example or key.name == "seals_after"
    for name in (key.name, *key.aliases):
        assert find(name.upper()) is key
    for word in key.words:
        assert str(parse(f"{key.name}:{word}")) == f"{key.name}:{word}"
    assert f"  {key.example} " in filter_help(judged=True)
    assert (f"  {key.example} " in filter_help(judged=False)) is not key.judged


def test_help_fits_a_terminal() -> None:
    assert max(map(len, filter_help(judged=True).splitlines())) <= 80


def test_flags_are_the_marks_that_script_shows() -> None:
    assert [word.strip("!") for word in marks(sum(Flag))] == [*FLAG_WORDS][:-2]
    assert sum(FLAG_WORDS.values()) == sum(Flag)


def test_without_and_and() -> None:
    query = parse("op:mmap ram ret:ok errno:EPERM !op:read")
    assert str(query.without(["op"])) == "ram ret:ok ret:EPERM"
    assert str(query.without(["errno", None])) == "op:mmap !op:read"
    assert query.without([]) == query
    assert str(parse("op:mmap ram") & parse("ram pid:1")) == "op:mmap ram pid:1"
    assert parse("op:mmap,read").columns() == {"op"}
    assert parse("ret:ok ram").columns() == {"answer", "flags", "name", "comm"}
    assert bool(query) is True
    assert bool(Query()) is False
    with pytest.raises(ValueError, match="no key 'opp'"):
        query.without(["opp"])


def test_parsing_needs_nothing_heavy() -> None:
    code = (
        "from tracer.filter.query import parse\n"
        "parse('op:mmap ret:EPERM size:>1M ram seals:+w').plus('name', 'x')"
    )
    assert imported(code) & HEAVY == set()


def test_option() -> None:
    parser = argparse.ArgumentParser()
    filter_option(parser)
    args = parser.parse_args(["--filter", "op:mmap ram", "--filter", "!ram"])
    assert str(filter_query(args, ["op", "name", "comm"])) == "op:mmap ram !ram"
    assert filter_query(parser.parse_args([]), []) == Query()
    with pytest.raises(QueryError, match="no column comm, name"):
        filter_query(args, ["op"])
    with pytest.raises(QueryError, match="only judged decisions have it") as caught:
        filter_query(parser.parse_args(["--filter", "op:mmap verdict:breach"]), ["op"])
    assert caught.value.word == "verdict:breach"
