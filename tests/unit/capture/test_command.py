"""The traced command: waits, runs as itself, is reaped."""

import os
import signal
import time
from pathlib import Path

import pytest

from tracer.capture.command import Command, CommandError, User, by_id, invoking_user


def run(*argv: str) -> int | None:
    command = Command.prepare(argv)
    command.release()
    return command.wait(60)


def test_waits_until_released_and_keeps_its_pid(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = Command.prepare(["sh", "-c", f"echo $$ > {out}"])
    time.sleep(0.05)
    assert not out.exists()
    assert command.poll() is None
    command.release()
    assert command.wait(60) == 0
    assert int(out.read_text()) == command.pid


def test_exit_codes() -> None:
    assert run("true") == 0
    assert run("sh", "-c", "exit 7") == 7
    assert run("sh", "-c", "kill -TERM $$") == 128 + signal.SIGTERM


def test_no_shell(tmp_path: Path) -> None:
    out = tmp_path / "a b; c"
    assert run("touch", str(out)) == 0
    assert out.exists()


@pytest.mark.parametrize("program", ["no-such-program-here", "/no/such/file"])
def test_not_found(program: str) -> None:
    with pytest.raises(CommandError, match="not found") as caught:
        Command.prepare([program])
    assert caught.value.exit_code == 127


def test_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    for path in (plain, tmp_path):
        with pytest.raises(CommandError, match="cannot be executed") as caught:
            Command.prepare([str(path)])
        assert caught.value.exit_code == 126
    with pytest.raises(CommandError):
        Command.prepare([])


def test_exec_failure_is_told_before_success(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    command = Command.prepare([str(script)])
    with pytest.raises(CommandError, match="interpreter is missing") as caught:
        command.release()
    assert caught.value.exit_code == 127
    assert command.poll() is not None, "reaped"


def test_terminate_before_and_after_release(tmp_path: Path) -> None:
    waiting = Command.prepare(["sleep", "60"])
    waiting.terminate()
    assert waiting.poll() == 125
    running = Command.prepare(["sleep", "60"])
    running.release()
    assert running.terminate() == 128 + signal.SIGTERM
    assert running.terminate() == 128 + signal.SIGTERM, "and nobody else's process"
    is_deaf = tmp_path / "deaf"
    deaf = Command.prepare(
        ["sh", "-c", f"trap '' TERM; touch {is_deaf}; while :; do sleep 1; done"]
    )
    deaf.release()
    while not is_deaf.exists():
        time.sleep(0.01)
    assert deaf.terminate(grace_s=0.1) == 128 + signal.SIGKILL


def test_child_ends_with_an_unreleasing_parent() -> None:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        command = Command.prepare(["sleep", "60"])
        os.write(writer, str(command.pid).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    for _ in range(3000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail("still waiting")


def test_interrupts_reach_the_command_and_not_us() -> None:
    command = Command.prepare(["sleep", "60"])
    command.release()
    with command.interrupts_are_its_own():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(command.pid, signal.SIGINT)
        assert command.wait(60) == 128 + signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_quits_the_command_never_interrupts_us() -> None:
    command = Command.prepare(["true"])
    with command.interrupts_are_its_own():
        try:
            for _ in range(5):
                os.kill(os.getpid(), signal.SIGQUIT)
        except KeyboardInterrupt:
            pytest.fail("we were interrupted")
        command.release()
        assert command.wait(60) == 0


def test_pipes_end_the_command_quietly(tmp_path: Path) -> None:
    # Python ignores SIGPIPE; a traced `yes | head` must not inherit that.
    assert run("sh", "-c", f"(yes; echo $? >{tmp_path}/code) | head -1 >/dev/null") == 0
    assert int((tmp_path / "code").read_text()) == 128 + signal.SIGPIPE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_runs_as_the_invoking_user(capfd: pytest.CaptureFixture[str]) -> None:
    user = by_id(65534, 65534)
    command = Command.prepare(["sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"], user)
    command.release()
    assert command.wait(60) == 0
    assert capfd.readouterr().out.split() == ["65534", "65534", "65534", user.home]


def test_invoking_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert invoking_user({}) is None
    assert invoking_user({"SUDO_UID": "x", "SUDO_GID": "1"}) is None
    found = invoking_user({"SUDO_UID": "4000000", "SUDO_GID": "4000001"})
    assert found == User(4000000, 4000001, (4000001,), None, None)
    assert found.environment({"HOME": "/root", "A": "b"}) == {"HOME": "/root", "A": "b"}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert invoking_user({"SUDO_UID": "1", "SUDO_GID": "1"}) is None
