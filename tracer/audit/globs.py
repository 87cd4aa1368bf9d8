"""``*`` and ``?`` over escaped names: a backslash and brackets are what they are."""

import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in glob), re.DOTALL)


def matches(glob: str, text: str) -> bool:
    """Whether all of ``text`` is as ``glob`` says; upper and lower case differ."""
    return _pattern(glob).fullmatch(text) is not None


def literals(glob: str) -> list[str]:
    """What every text that matches has in it, in this order."""
    return re.split(r"[*?]", glob)


def literal(glob: str) -> str:
    """What every text that matches begins with."""
    return re.split(r"[*?]", glob, maxsplit=1)[0]
