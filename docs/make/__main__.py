"""``python -m docs.make``: writes every document that is made from code."""

import sys

from docs.make import files


def main() -> int:
    """Writes what has changed and names it."""
    for path, text in files.made().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(path.relative_to(files.ROOT))
    for path in files.left_over():
        path.unlink()
        print(f"{path.relative_to(files.ROOT)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
