"""Exit codes, errors that the command line expects, and what is said to an unknown word."""

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """What every verb ends with.

    Only the code of a command that is traced or recorded takes their place, and 128 + N after
    signal N.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        """A code with its sentence for help and man pages."""
        one = int.__new__(cls, code)
        one._value_ = code
        one.meaning = meaning
        return one

    FINE = 0, "all is well"
    FAILED = 1, "the tool failed, or was used wrongly"
    FINDING = 2, "there is a finding: an audit failed, a recording is damaged, --fail-on is met"
    UNCERTAIN = 3, "not certain: indeterminate, incomplete, or events were lost"
    NOTHING = 4, "there was nothing to judge"
    INTERRUPTED = 130, "Ctrl-C (128 + the number of the signal)"


class UserError(Exception):
    """Something the user can put right: a wrong option, a missing file, no permission.

    ``tracer/cli/main.py`` prints the message alone. ``exit_code`` is what the command ends with.
    """

    def __init__(self, message: str, exit_code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, whatever its case; None: none is."""
    from difflib import get_close_matches

    by_fold = {one.casefold(): one for one in known}
    near = get_close_matches(word.casefold()[:64], list(by_fold), 1)  # it takes long for long words
    return by_fold[near[0]] if near else None


def hint(near: str | None, known: Iterable[str], most: int = 20) -> str:
    """``did you mean X?`` for the ``nearest`` word, or ``most`` of the known ones for None."""
    if near is not None:
        return f"did you mean {near}?"
    words = list(known)
    more = ", …" if len(words) > most else ""
    return f"there are {', '.join(words[:most])}{more}"
