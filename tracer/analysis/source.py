"""Where events came from: one recording, its host, and what its kernel was found to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracer.recording.manifest import Manifest
from tracer.rules.variants import UNEXPLAINED, doubt
from tracer.words import UNKNOWN, Bit5

if TYPE_CHECKING:
    from tracer.recording.reader import Recording


@dataclass(frozen=True, eq=False)
class Source:
    """One recording; two of the same boot have the same processes and objects."""

    path: str = ""
    boot_id: str = ""
    """Of the kernel that ran; the path where a manifest does not tell it."""
    host: str = ""
    release: str = ""
    """Of the kernel, as uname(2) gives it."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """What the self-test found: question to choice (tracer.rules.variants)."""
    bit5: Bit5 = UNKNOWN
    """What the kernel calls seal 0x20."""
    leaves_out: bool = False
    """Of a file that can never be sealed, only the creation was recorded (no ``--unsealable``)."""

    @classmethod
    def of(cls, recording: "Recording") -> "Source":
        """From the manifest; what it does not tell is empty."""
        manifest = recording.manifest
        return cls(
            path=recording.path,
            boot_id=manifest.boot_id or recording.path,
            host=manifest.host,
            release=manifest.kernel.release,
            variants=variants(manifest),
            bit5=manifest.bit5,
            leaves_out=manifest.filters is not None and manifest.filters.unsealable is False,
        )


def variants(manifest: Manifest) -> dict[str, str]:
    """What the self-test chose and what it could not explain; ``{}`` where it did not run."""
    test = manifest.tested
    odd = {doubt(one.op, one.rule): UNEXPLAINED for one in test.unexplained}
    return {**test.variants, **odd}
