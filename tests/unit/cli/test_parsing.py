"""Values on the command line that several verbs have."""

import pytest

from sealsnoop import main
from tracer.cli.verb import byte_count
from tracer.errors import UserError


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1", 1), ("500M", 500 << 20), ("1.5G", 3 << 29), ("2 GiB", 2 << 30), ("7kB", 7 << 10)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert byte_count("--max-size", text) == bytes_


@pytest.mark.parametrize("text", ["", "0", "-1", "1e9", "5X", "M", "99999999T", "1.M", "\u0661M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UserError, match=r"--max-size: .* is not a size; write 500M or 2G"):
        byte_count("--max-size", text)


def test_too_small_to_record_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--max-size", "10k", "--", "true"]) == 1
    assert "--max-size: at least 1M" in capsys.readouterr().err
