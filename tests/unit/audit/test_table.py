"""The tables in docs/audit.md are those of the kernel tests, line by line."""

from pathlib import Path

from tests.kernel import attack_cases
from tests.kernel.attack_cases import ATTACKS, SHOWN, TWINS
from tests.kernel.audit_cases import BLINDED, GMEM_GUESTS, MEMFD_GUESTS, OPEN, table
from tracer.audit.policy import CLAIMS
from tracer.audit.result import DOUBTS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "audit.md"


def test_docs_have_the_tables() -> None:
    for one in (table(), attack_cases.table()):
        assert "\n".join(["", *one, ""]) in DOCS.read_text()


def test_cases_use_words_that_exist() -> None:
    names = [guest.name for guest in (*MEMFD_GUESTS, *GMEM_GUESTS)]
    assert len(set(names)) == len(names)
    for guest in (*MEMFD_GUESTS, *GMEM_GUESTS):
        assert {one.claim for one in guest.wrong} <= set(CLAIMS)
    for case in BLINDED:
        assert set(case.codes) <= set(DOUBTS)
        assert set(case.claims) <= set(CLAIMS)
    assert OPEN == "indeterminate"


def test_attacks_use_words_that_exist() -> None:
    names = [*(one.name for one in (*ATTACKS, *TWINS)), *SHOWN]
    assert len(set(names)) == len(names)
    for attack in ATTACKS:
        assert attack.broken
        for one in attack.broken:
            assert one.claim in CLAIMS
            assert set(one.codes) <= set(DOUBTS)
