"""Errors that the command line expects, and what they say to a word that is not known."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right: a wrong option, a missing file, no permission.

    ``tracer/cli/main.py`` prints the message alone. ``exit_code`` is what the command ends with.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
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
