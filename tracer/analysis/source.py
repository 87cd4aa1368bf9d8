"""Where events came from: one recording, its host, and what its kernel was found to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracer.rules.variants import UNEXPLAINED, doubt
from tracer.words import UNKNOWN, Bit5, bit5_in

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
        """From the manifest, which may be somebody else's: wrong types count as missing."""
        manifest = recording.manifest
        return cls(
            path=recording.path,
            boot_id=_text(manifest.get("boot_id")) or recording.path,
            host=_text(manifest.get("host")),
            release=_text(_dict(manifest.get("kernel")).get("release")),
            variants=variants(manifest),
            bit5=bit5_in(manifest),
            leaves_out=_dict(manifest.get("filters")).get("unsealable") is False,
        )


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def variants(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What the self-test chose and what it could not explain; ``{}`` where it did not run."""
    told = _dict(manifest.get("self_test"))
    chosen = _dict(told.get("variants"))
    odd = told.get("unexplained")
    doubts = [_dict(one) for one in odd] if isinstance(odd, list) else []
    return {key: value for key, value in chosen.items() if isinstance(value, str)} | {
        doubt(_text(one.get("op")), _text(one.get("rule"))): UNEXPLAINED for one in doubts
    }
