"""The table in docs/audit.md is that of the kernel tests, line by line."""

from pathlib import Path

from tests.kernel.audit_cases import BLINDED, GMEM_GUESTS, MEMFD_GUESTS, OPEN, table
from tracer.audit.claims import CLAIMS
from tracer.audit.results import DOUBTS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def test_docs_have_the_table() -> None:
    assert "\n".join(["", *table(), ""]) in DOCS.read_text()


def test_cases_use_words_that_exist() -> None:
    names = [guest.name for guest in (*MEMFD_GUESTS, *GMEM_GUESTS)]
    assert len(set(names)) == len(names)
    for guest in (*MEMFD_GUESTS, *GMEM_GUESTS):
        assert {one.claim for one in guest.wrong} <= set(CLAIMS)
    for case in BLINDED:
        assert set(case.codes) <= set(DOUBTS)
        assert set(case.claims) <= set(CLAIMS)
    assert OPEN == "indeterminate"
