"""Our own themes, and colours by meaning for every theme."""

from collections.abc import Collection, Mapping

from textual.color import Color, ColorParseError
from textual.theme import Theme
from textual.widget import Widget

from tracer.errors import UserError, hint, nearest
from tracer.escape import printable

DEFAULT = "sealsnoop"
OWN = (
    Theme(
        name=DEFAULT,
        primary="#6cb6ff",
        secondary="#d2a8ff",
        accent="#56d4dd",
        success="#6bc46d",
        warning="#e3b341",
        error="#ff6b6b",
        foreground="#d5dbe3",
        background="#12161c",
        surface="#181d25",
        panel="#222a35",
        dark=True,
    ),
    Theme(
        name="sealsnoop-light",
        primary="#0550ae",
        secondary="#7335c4",
        accent="#0b6a75",
        success="#116329",
        warning="#8a5a00",
        error="#b3141c",
        foreground="#1f2328",
        background="#ffffff",
        surface="#f6f8fa",
        panel="#e6eaef",
        dark=False,
    ),
)
_MEANING = {
    "breach": "error",
    "unexplained": "warning",
    "indeterminate": "secondary",
    "blocked": "accent",
    "allowed": "success",
}


def _mixed(variables: Mapping[str, str], share: float) -> str:
    """The foreground, faded into the background."""
    try:
        ink, paper = (Color.parse(variables[name]) for name in ("foreground", "background"))
    except (KeyError, ColorParseError):
        return "ansi_default"
    return paper.blend(ink, share).hex6


_EMPHASIS = {
    "breach": 1.0, "unexplained": 0.92, "indeterminate": 0.84, "blocked": 0.76, "error": 0.68,
    "allowed": 0.6,
}  # fmt: skip
"""Without colours: how bright a verdict is; what is worse is brighter."""


def shades(variables: Mapping[str, str]) -> dict[str, str]:
    """The same as :func:`colours` for a terminal without any: brightness by meaning."""
    if variables.get("foreground", "").startswith("ansi_"):
        return {}
    found = {f"v-{name}": _mixed(variables, share) for name, share in _EMPHASIS.items()}
    return found | {"v-alarm": variables.get("background", "ansi_default")}


def colours(variables: Mapping[str, str]) -> dict[str, str]:
    """CSS variables by meaning, out of a theme's own.

    ``v-breach`` and the other verdicts; ``v-quiet`` for labels, ``v-edge`` for lines, ``v-alarm``
    for the banner's ground, ``v-cursor`` and ``v-marked`` for rows.
    """
    found = {f"v-{name}": variables.get(own, "ansi_default") for name, own in _MEANING.items()}
    if variables.get("foreground", "").startswith("ansi_"):
        # Sixteen colours, whatever they are: no shades, and no ground that hides red.
        plain = dict.fromkeys(("v-error", "v-alarm", "v-marked"), "ansi_default")
        shades = dict.fromkeys(("v-quiet", "v-edge", "v-cursor"), "ansi_bright_black")
        return found | plain | shades
    found["v-error"] = _mixed(variables, 0.8)
    found["v-quiet"] = _mixed(variables, 0.58)
    found["v-edge"] = _mixed(variables, 0.25)
    found["v-cursor"] = _mixed(variables, 0.2)
    found["v-alarm"] = variables.get("error-muted", "ansi_default")
    found["v-marked"] = variables.get("primary-muted", "ansi_default")
    return found


def rich_colour(value: str) -> str:
    """A colour of a theme as Rich has it."""
    if value.startswith("ansi_"):
        return value.removeprefix("ansi_")
    return value[:7] if value.startswith("#") else "default"


def colour_of(widget: Widget, name: str) -> str:
    """The colour of a meaning (``breach``, ``quiet``) or of a theme's variable, now."""
    variables = widget.app.theme_variables
    return rich_colour(variables.get(f"v-{name}") or variables.get(name, ""))


def check(name: str, known: Collection[str]) -> str:
    """``name`` if there is such a theme. UserError: there is none."""
    if name in known:
        return name
    others = hint(nearest(name, known), sorted(known), most=len(known))
    raise UserError(f"--theme: no theme {printable(name)!r}; {others}")
