"""A filter that cannot be understood: which word it is, where it stands, and what was meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from tracer.errors import UserError
from tracer.model.escape import cells, printable

_SHOWN = 72  # characters of the filter around the bad word


class QueryError(UserError):
    """``text[start:end]`` is what is wrong; ``near`` is the known word that comes closest.

    The message has the filter itself below, with carets under the bad word.
    """

    def __init__(
        self, problem: str, text: str, start: int, end: int, near: str | None = None
    ) -> None:
        self.problem = problem
        self.text = text
        self.start = min(start, len(text))
        self.end = max(self.start, min(end, len(text)))
        self.near = near
        super().__init__(f"filter: {printable(problem)}\n{_pointed(text, self.start, self.end)}", 2)

    @property
    def word(self) -> str:
        """The bad word as it was written."""
        return self.text[self.start : self.end]


def _pointed(text: str, start: int, end: int) -> str:
    """Two lines: the filter, cut where it is long, and carets below ``text[start:end]``."""
    left = 0 if end <= _SHOWN else max(0, min(start, end - _SHOWN // 2) - 8)
    right = min(len(text), left + _SHOWN)
    end = max(start, min(end, right))
    before = ("…" if left else "") + printable(text[left:start])
    bad = printable(text[start:end])
    behind = printable(text[end:right]) + ("…" if right < len(text) else "")
    return f"  {before}{bad}{behind}\n  {' ' * cells(before)}{'^' * max(1, cells(bad))}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, whatever its case."""
    by_fold = {one.casefold(): one for one in known}
    found = get_close_matches(word.casefold()[:64], list(by_fold), 1)
    return by_fold[found[0]] if found else None


def hint(near: str | None, known: Iterable[str], most: int = 20) -> str:
    """``did you mean X?``, or the known words where none comes close."""
    if near is not None:
        return f"did you mean {near}?"
    words = list(known)
    more = ", …" if len(words) > most else ""
    return f"there are {', '.join(words[:most])}{more}"
