"""Which files are made, and from what."""

from pathlib import Path

from docs.make import limitations, man, moving, pictures, requirements, schema

ROOT = Path(__file__).resolve().parents[2]


def made() -> dict[Path, str]:
    """Path → content of every file that is made."""
    return {
        ROOT / "docs/requirements.md": requirements.document(),
        ROOT / "docs/limitations.md": limitations.document(),
        ROOT / "docs/schema.md": schema.document(),
        ROOT / "docs/pictures/trace.svg": moving.picture(),
        **pictures.drawn(),
        **{ROOT / "man" / name: text for name, text in man.pages().items()},
    }


def left_over() -> list[Path]:
    """Files that were made once, of verbs that are gone."""
    return sorted(set((ROOT / "man").glob("*.1")) - set(made()))
