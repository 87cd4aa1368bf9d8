"""What of a filter the recorder applies: nothing that would match is lost by it."""

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.filter.grammar import QueryError
from tracer.filter.pushdown import KEPT, Options, lossless, options
from tracer.filter.query import parse
from tracer.kernel.families import FAMILIES
from tracer.words import Op, words

KEPT_WORDS = {op.name.lower() for op in KEPT}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("op:mmap", ["--ops=mmap,add_seals,create"]),
        ("op:mmap,write verdict:blocked", ["--ops=mmap,write,add_seals,create"]),
        ("op:mmap,write !op:write", ["--ops=mmap,add_seals,create"]),
        ("verdict:breach size:>1M", []),
        ("uid:0 pid:5 ret:error seals:+WRITE", []),  # others' seals explain refusals
        ("name:ring*", []),  # a refused creation has a name, too
        ("name:ring* op:mmap", ["--ops=mmap,add_seals,create", "--name=ring"]),
        ("name:ring !op:create", None),
        (f"name:{'r' * 249}* op:mmap", ["--ops=mmap,add_seals,create", f"--name={'r' * 249}"]),
        (f"name:{'r' * 250}* op:mmap", ["--ops=mmap,add_seals,create"]),
        ("name:ring*x*,ring* op:mmap", ["--ops=mmap,add_seals,create"]),
        ("name:r?ng* op:mmap", ["--ops=mmap,add_seals,create", "--name=r"]),
        ("name:~ring op:mmap", ["--ops=mmap,add_seals,create"]),
        ("name:mem* op:mmap", ["--ops=mmap,add_seals,create"]),  # every memfd
        ("name:memfd:ring* op:mmap", ["--ops=mmap,add_seals,create"]),
        (r"name:a\x1b* op:mmap", ["--ops=mmap,add_seals,create"]),
        ("!name:ring* op:mmap", ["--ops=mmap,add_seals,create"]),
        ("ring op:mmap", ["--ops=mmap,add_seals,create"]),
    ],
)
def test_what_loses_nothing(text: str, found: list[str] | None) -> None:
    words_ = lossless(parse(text)).words()
    if found is None:
        assert words_[-1] == "--name=ring"
        assert "mmap" in words_[0]
    else:
        assert words_ == found


NAMES = st.sampled_from(["ring", "ring-1", "memfd:ring", "mem", "r", "x", "memfd:", ""])
TEXTS = st.lists(
    st.sampled_from(
        ["op:mmap", "op:m*", "!op:write", "!op:add_seals,mmap", "name:ring*", "name:r*",
         "name:ring", "name:mem*", "name:memfd:r*", "!name:r*", "name:ring*,x*", "name:?ing",
         "name:*", "ring"]
    ),
    max_size=3,
)  # fmt: skip


@given(TEXTS, st.sampled_from(sorted(words(Op).values())), NAMES, st.booleans())
def test_no_row_that_matches_is_left_out(texts: list[str], op: str, name: str, made: bool) -> None:
    """``made``: the file is there; the kernel compares the name of a memfd without its prefix."""
    query = parse(" ".join(texts))
    pushed = lossless(query)
    row = {"op": [op], "name": [f"memfd:{name}"], "comm": ["x"]}
    if not query.mask(pd.DataFrame(row))[0]:
        return
    hooked = any(Op[op.upper()] in family.ops for family in FAMILIES)
    if pushed.ops and hooked and op != "evict":
        assert op in pushed.ops
    if pushed.name and (made or op != "create"):
        assert name.startswith(pushed.name)
    if op == "create" and not made:
        assert not pushed.name


@given(TEXTS)
def test_creation_and_sealing_are_always_there(texts: list[str]) -> None:
    pushed = lossless(parse(" ".join(texts)))
    assert not pushed.ops or set(pushed.ops) >= KEPT_WORDS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Options()),
        ("op:mmap uid:1000,0", Options(ops=("mmap", "add_seals", "create"), uid=("1000", "0"))),
        ("pid:42 ret:error", Options(pid=(42,), denied=True)),
        ("name:ring* seals:+WRITE|GROW", Options(name="ring", seals=("grow", "write"))),
        ("seals:+w seals:+g", Options(seals=("write", "grow"))),
        (
            "unit:ssh.service op:write !exe:/bin/*",
            Options(ops=("write", "add_seals", "create"), actors="unit:ssh.service !exe:/bin/*"),
        ),
        ("op:mmap,write op:write,read", Options(ops=("write", "add_seals", "create"))),
    ],
)
def test_a_filter_as_options(text: str, found: Options) -> None:
    made = options(parse(text))
    assert {**made.values(), "seals": None} == {**found.values(), "seals": None}
    assert set(made.seals) == set(found.seals)
    assert bool(made) is bool(text)


@pytest.mark.parametrize(
    ("text", "word", "advice"),
    [
        ("op:mmap verdict:breach", "verdict:breach", "filter when reading it"),
        ("!uid:0", "!uid:0", "filter when reading it"),
        ("pid:1..5", "pid:1..5", "filter when reading it"),
        ("name:~ring", "name:~ring", "name:ring*"),
        ("name:ring", "name:ring", "name:ring*"),
        ("seals:-WRITE", "seals:-WRITE", "seals:+WRITE"),
        ("seals:+WRITE,+GROW", "seals:+WRITE,+GROW", "seals:+WRITE"),
        ("ret:EPERM", "ret:EPERM", "ret:error"),
        ("cgroup:5", "cgroup:5", "--cgroup"),
        ("ring", "ring", "filter when reading it"),
        ("op:open", "op:open", "filter when reading it"),
        ("op:pin", "op:pin", "filter when reading it"),  # only with --audit
        ("uid:5 uid:6", "uid:6", "stands twice"),
    ],
)
def test_what_no_kernel_filter_is_is_refused_by_its_name(text: str, word: str, advice: str) -> None:
    with pytest.raises(QueryError, match=re.escape(advice)) as error:
        options(parse(text))
    assert error.value.word == word
