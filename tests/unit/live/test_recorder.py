"""The recorder as a process of its own: started, waited for, ended; with the real store writer."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tracer.errors import UserError
from tracer.live.recorder import Place, Recorder, RecorderFailed
from tracer.recording.reader import Recording
from tracer.recording.verify import verify
from tracer.recording.writer import RecordingWriter
from ui import session

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
WRITER = (sys.executable, "-m", "tests.tty.writer")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def started(folder: Path, *options: str, command: list[str] | None = None) -> Recorder:
    return Recorder(options, folder / "live.seal", command or [], folder, WRITER)


def nothing(*_: object) -> None:
    pass


def until(ready: Callable[[], bool]) -> None:
    for _ in range(2000):
        if ready():
            return
        time.sleep(0.01)
    raise TimeoutError


def end_reason(folder: Path) -> str | None:
    with Recording.open(folder / "live.seal") as recording:
        return recording.end.reason if recording.end else None


def test_it_records_and_ends_in_order(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    recorder.wait_ready(nothing)
    with Recording.open(tmp_path / "live.seal") as recording:
        assert recording.alive
    assert os.getpgid(recorder.pid) == recorder.pid != os.getpgid(0)
    assert recorder.code is None
    told: list[str] = []
    assert recorder.stop(told.append) == 0
    assert recorder.stop(told.append) == 0, "twice does no harm"
    assert end_reason(tmp_path) == "interrupted by SIGINT"
    assert "events, 0 lost" in recorder.stderr


def test_one_that_cannot_record(tmp_path: Path) -> None:
    recorder = started(tmp_path, "--fail", "this kernel cannot be traced:\n  kprobes: none")
    with pytest.raises(RecorderFailed) as caught:
        recorder.wait_ready(nothing)
    assert str(caught.value) == "this kernel cannot be traced:\n  kprobes: none"
    assert caught.value.exit_code == 1
    assert recorder.stop(nothing) == 1


def test_one_that_dies_without_a_word(tmp_path: Path) -> None:
    program = ("sh", "-c", "kill -9 $$", "sh")
    recorder = Recorder([], tmp_path / "live.seal", [], tmp_path, program)
    with pytest.raises(RecorderFailed, match="ended with SIGKILL and said nothing"):
        recorder.wait_ready(nothing)


def test_an_old_recording_of_that_name_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    old = started(tmp_path, "--events", "1")
    old.wait_ready(nothing)
    old.stop(nothing)
    program = (sys.executable, "-c", "import sys; sys.exit('sealsnoop: no')")
    (tmp_path / "logs").mkdir()
    recorder = Recorder([], tmp_path / "live.seal", [], tmp_path / "logs", program)
    with pytest.raises(RecorderFailed, match=r"^no$"):
        recorder.wait_ready(nothing)


def test_its_output_and_the_commands_are_kept_from_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = started(
        tmp_path, command=["sh", "-c", "echo out; echo err >&2; readlink /proc/self/fd/0"]
    )
    recorder.wait_ready(nothing)
    until(lambda: recorder.code is not None)
    assert recorder.stdout == b"out\n/dev/null\n"
    assert recorder.stderr.startswith("err\n")
    assert end_reason(tmp_path) == "command exited with 0"
    assert capfd.readouterr() == ("", "")


def test_ending_it_interrupts_the_command_and_waits_for_it(tmp_path: Path) -> None:
    """What a command does after Ctrl-C belongs to the recording."""
    mark = tmp_path / "trapped"
    script = (
        f"trap 'sleep 0.3; echo done >{mark}; exit 5' INT; echo up; while :; do sleep 0.05; done"
    )
    recorder = started(tmp_path, command=["sh", "-c", script])
    recorder.wait_ready(nothing)
    until(lambda: recorder.stdout == b"up\n")
    recorder.stop(nothing)
    assert mark.read_text() == "done\n"
    assert end_reason(tmp_path) == "command exited with 5"


def test_a_command_that_does_not_listen_is_ended_where_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.live.recorder.GRACE_S", 0.2)
    script = "trap '' INT; echo $$; while :; do sleep 0.05; done"
    recorder = started(tmp_path, command=["sh", "-c", script])
    recorder.wait_ready(nothing)
    until(lambda: recorder.stdout.endswith(b"\n"))
    recorder.stop(nothing, patient=False)
    assert end_reason(tmp_path) == "interrupted by SIGINT"
    with pytest.raises(ProcessLookupError):
        os.kill(int(recorder.stdout), 0)


VIEWER = """
import sys, threading, time
from pathlib import Path
from tracer.live.recorder import Recorder
folder = Path(sys.argv[1])
program = sys.executable, "-m", "tests.tty.writer"
recorder = Recorder([], folder / "live.seal", sys.argv[2:], folder, program)
recorder.wait_ready(lambda step, seconds: None)
while sys.argv[2:] and not recorder.stdout:
    time.sleep(0.01)
for number in range(20):  # the kernel tells of each thread's death
    threading.Thread(target=threading.Event().wait).start()
print(recorder.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("command", "reason"),
    [([], "interrupted by SIGHUP"), (["sh", "-c", "echo up; sleep 0.5"], "command exited with 0")],
)
def test_killing_the_viewer_leaves_a_whole_recording(
    tmp_path: Path, command: list[str], reason: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", VIEWER, str(tmp_path), *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as viewer:  # fmt: skip
        assert viewer.stdout
        viewer.stdout.readline()
        viewer.send_signal(signal.SIGKILL)
    until(lambda: end_reason(tmp_path) is not None)
    assert end_reason(tmp_path) == reason


def test_the_place_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place()
    assert place.folder.parent == tmp_path / "sealsnoop"
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert place.base.stat().st_mode & 0o777 == 0o700
    assert place.recording.parent == place.folder
    place.recording.mkdir()
    place.remove()
    assert list(place.base.iterdir()) == []


def test_no_place_where_somebody_else_can_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.live.recorder.candidates", lambda: [tmp_path / "shared"])
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(UserError, match=r"no place for a temporary recording: .*-o S\.seal"):
        Place()
    (tmp_path / "shared").chmod(0o1777)  # others' names do not change ours
    Place().remove()


def test_a_place_that_somebody_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    dead, alive = Place(), Place()
    RecordingWriter(dead.recording, {}).close("killed, say")
    with RecordingWriter(alive.recording, {}):
        assert Place().left() == [dead.recording]
    assert dead.save() == Path(f"{dead.folder}.seal")
    assert verify(f"{dead.folder}.seal").exit_code == 0
    assert not dead.folder.exists()


@pytest.mark.parametrize("how", ["crash", "signal", "q"])
def test_only_who_has_seen_a_recording_lets_it_go(
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def show(*_: object) -> int:
        if how == "crash":
            raise ZeroDivisionError
        return 143 if how == "signal" else 0

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("ui.session.show", show)
    view = session.View("sealsnoop", False, None)
    with contextlib.suppress(ZeroDivisionError):
        session.record_and_show((), None, (), view, WRITER)
    left = list((tmp_path / "sealsnoop").iterdir())
    said = capsys.readouterr().err
    if how == "q":
        assert left == []
        assert "was temporary and is gone" in said
    else:
        (path,) = left
        assert f"the recording is {path}" in said
        assert verify(path).exit_code == 0
