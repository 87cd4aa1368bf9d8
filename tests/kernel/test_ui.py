"""The live view in a booted kernel: it showed a refusal that it had just made."""

import errno
import re

import pandas as pd

from tests.kernel.booted import Booted
from tests.kernel.scenes_ui import NAME
from tracer.recording.reader import Recording
from tracer.recording.verify import verify

_SOON_S = 60.0
"""The guest is emulated on a busy machine: 2 to 11 s were seen."""

ON_ONE = True  # see conftest.py: one kernel, unless all are asked


def test_the_view_shows_a_mapping_that_was_just_refused(kernel: Booted) -> None:
    facts = kernel.facts("ui")
    truth = facts["truth"]
    assert truth["errno"] == errno.EPERM, "the kernel did refuse"
    told = "refused by F_SEAL_WRITE: EPERM"
    assert told not in facts["before"]
    line = next(line for line in facts["shown"].splitlines() if told in line)
    assert NAME in line
    assert "mmap" in line
    assert "■" in line, "blocked"
    assert "---w--" in line
    seconds = (facts["shown_ns"] - truth["began_ns"]) / 1e9
    assert 0 < seconds < _SOON_S, f"shown after {seconds:.1f} s"


def test_three_keys_lead_to_the_reason(kernel: Booted) -> None:
    """Two: Enter for the file, b for its next blocked decision; then the rule and its source."""
    why = kernel.facts("ui")["why"]
    assert NAME in why
    assert "blocked" in why
    assert "mm/" in why, "the place in the kernel"


def test_what_it_showed_is_what_was_recorded(kernel: Booted) -> None:
    path, truth = kernel.folder / "ui.seal", kernel.facts("ui")["truth"]
    assert verify(path).exit_code == 0
    with Recording.open(path) as recording:
        events: pd.DataFrame = recording.frame("events", names=True)
        assert recording.end is not None
        # q interrupts the program, as Ctrl-C would.
        assert recording.end.reason == "command exited with 130"
        assert recording.end.lost == {}
    refused = events[(events["op"] == "mmap") & (events["answer"] == -errno.EPERM)]
    assert len(refused) == 1
    event = refused.iloc[0]
    assert (event["name"], event["pid"]) == (f"memfd:{NAME}", truth["pid"])
    assert event["time_ns"] >= truth["began_ns"]


def test_it_leaves_the_terminal_and_the_recording_in_order(kernel: Booted) -> None:
    facts = kernel.facts("ui")
    assert "ended with 0" in facts["end"]
    assert re.search(r"sealsnoop: the recording is \S+/ui\.seal\n", facts["end"])
    assert facts["modes"]["alternate_on"] == "0"
