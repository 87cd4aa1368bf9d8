"""A window that was closed does not keep the view from ending."""

import contextlib
import os
import threading
from typing import IO, cast

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from ui.terminal import Output


def test_a_terminal_that_is_gone_takes_everything() -> None:
    ours, theirs = os.openpty()
    ended = False
    # What the file still holds at its end cannot be written.
    with contextlib.suppress(OSError), open(theirs, "w") as file:
        output = Output(file)
        assert output.isatty()
        assert output.fileno() == theirs
        output.write("seen\n")
        output.flush()
        assert os.read(ours, 99) == b"seen\r\n"
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(theirs, b"x")
        writer = WriterThread(cast(IO[str], output))  # what Textual draws through
        writer.start()
        for _ in range(3 * MAX_QUEUED_WRITES):
            writer.write("drawn")
        ending = threading.Thread(target=writer.stop, daemon=True)
        ending.start()
        ending.join(10)
        ended = not ending.is_alive()
    assert ended
