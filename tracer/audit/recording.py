"""How to record for an audit: the hooks that a policy's claims need, and nothing left out."""

from tracer.audit.policy import Policy
from tracer.audit.ways import KINDS, needed
from tracer.kernel.families import FAMILIES
from tracer.model.words import Op

_ALWAYS = (Op.CREATE, Op.ADD_SEALS, Op.MAP, Op.UNMAP, Op.EVICT, Op.MMAP)
"""What tells who is who, whatever is claimed."""


def options(policy: Policy, known: str) -> list[str]:
    """Options of ``sealsnoop record``; ``known`` is its help, to see whether it has ``--audit``."""
    families = {
        family
        for claim in policy.claims
        for kind in claim.scope.kind or KINDS
        for family in needed(claim.claim, kind, claim.meant)
    }
    ops = {op for family in FAMILIES if family.name in families for op in family.ops}
    words = ["--unsealable"]
    if "--audit" in known:
        words.append("--audit")  # with it all of its families are taken
    else:
        words += ["--ops", ",".join(sorted(op.name.lower() for op in ops | set(_ALWAYS)))]
    return words
