"""``docs/limitations.md`` from `tracer.kernel.blind_spots` and the hook families."""

from collections.abc import Iterable

from docs.make.markdown import code, filled, table, wrapped
from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.kernel.blind_spots import AUDIT, FTRACE_BLIND_SPOTS, PLAIN, UNFOLLOWED, BlindSpot
from tracer.kernel.families import FAMILIES, Family
from tracer.rules.variants import HOLES


def document() -> str:
    """The whole file."""
    holes = ((code(one.name), one.text) for one in HOLES)
    return filled(
        "limitations",
        plain=_spots(PLAIN),
        audit=_spots(AUDIT),
        unfollowed=_spots(one.spot for one in UNFOLLOWED),
        ftrace="\n".join(wrapped(f"- {text}", hang="  ") for text in FTRACE_BLIND_SPOTS),
        families=_families(FAMILIES),
        audit_families=_families(AUDIT_FAMILIES),
        holes=table(("hole", "what the kernel lets through"), holes),
    )


def _spots(spots: Iterable[BlindSpot]) -> str:
    # The text in one line, as doctor prints it: it can be searched for
    return "\n".join(f"- **{one.text}**\\\n{wrapped(one.why, '  ', '  ')}" for one in spots)


def _families(families: Iterable[Family]) -> str:
    return table(("family", "without it"), ((code(one.name), one.unseen) for one in families))
