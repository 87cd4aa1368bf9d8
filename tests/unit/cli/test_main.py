"""The command line from outside: exit codes, messages, and nothing left behind."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tracer import __version__, shipped
from tracer.cli import doctor, main, record
from tracer.cli.main import VERBS
from tracer.cli.record import ProgressLine, Stopper
from tracer.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "tracer.cli.main"]

# Nobody can record like this, whatever the host's kernel could do.
POWERLESS = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
REASONS = """
from tracer.kernel.requirements.checks import blocking, check
from tracer.kernel.requirements.host import Host
for one in blocking(check(Host.live())):
    print(f"{one.name}: {one.cause}\\n→ {one.remedy}")
"""


def sealsnoop(*argv: str, cwd: Path = ROOT, **more: Any) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60} | more
    return subprocess.run([*COMMAND, *argv], cwd=cwd, env=environ, check=False, **options)


def ends(*argv: str) -> Any:
    """The exit code of a command line at which no verb runs."""
    try:
        return main.main(argv)
    except SystemExit as end:
        return end.code


# ---- verbs and words --------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("--version") == 0
    assert capsys.readouterr().out == f"sealsnoop {__version__}\n"


def test_nothing_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("usage: sealsnoop")
    for verb in VERBS:
        assert re.search(rf"\n    {verb}[ \n]", out), "with what it does"


@pytest.mark.parametrize(
    ("word", "verb"), [("recrod", "record"), ("scipt", "script"), ("docter", "doctor")]
)
def test_unknown_verb(word: str, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(word) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"sealsnoop: argument VERB: invalid choice: '{word}' (choose from ")
    assert err.endswith(f"; did you mean {verb}?\n")
    assert err.count("\n") == 1


def test_a_verb_like_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("xyzzy") == 1
    assert capsys.readouterr().err.endswith("; see 'sealsnoop --help'\n")


def test_unknown_choice_of_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("record", "--method", "kprob") == 1
    assert capsys.readouterr().err.endswith("; did you mean kprobe?\n")
    assert ends("record", "--method", "verify") == 1
    assert capsys.readouterr().err.endswith("; see 'sealsnoop record --help'\n")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["record", "--ring", "x"], "argument --ring: invalid int value: 'x'"),
        (["record", "--pid", "1.5"], "argument --pid: invalid int value: '1.5'"),
        (["record", "--duration", "soon"], "argument --duration: invalid float value: 'soon'"),
        (["record", "--xyzzy"], "unrecognized arguments: --xyzzy"),
        (["doctor", "-x"], "unrecognized arguments: -x"),
        (["script"], "the following arguments are required: RECORDING"),
    ],
)
def test_wrong_options(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(*argv) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"sealsnoop: {words}; see 'sealsnoop")
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ring", "3"], "--ring: 3 is not a power of two from 1 to 1024 (MB)"),
        (["--ring", "0"], "--ring: 0 is not a power of two from 1 to 1024 (MB)"),
        (["--ring", "-2"], "--ring: -2 is not a power of two from 1 to 1024 (MB)"),
        (["--ring", "2048"], "--ring: 2048 is not a power of two from 1 to 1024 (MB)"),
        (["--duration", "0"], "--duration: 0 is not a positive number of seconds"),
        (["--duration", "nan"], "--duration: nan is not a positive number of seconds"),
        (["--seals", "writ"], "--seals: there is no seal 'writ'; did you mean write?"),
        (["--ops", "mmapp"], "--ops: there is no operation 'mmapp'; did you mean mmap?"),
        (["--pid", "4194999"], "--pid: there is no process 4194999"),
        (
            ["--source", "ftrace", "--audit"],
            "--audit needs --source bpf: ftrace has no hooks for guest memory, pins and KVM",
        ),
        (
            ["--source", "ftrace", "--method", "fexit"],
            "--method fexit needs --source bpf: ftrace has only kprobes",
        ),
    ],
)
def test_wrong_values(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main.main(["record", *argv, "--", "true"]) == 1
    assert capsys.readouterr() == ("", f"sealsnoop: {message}\n")
    assert signal.getsignal(signal.SIGINT) is before, "checked before anything is set up"


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["report", "x", "--filtre", "op:mmap"], "--filter"),
        (["record", "--no-selftest"], "--no-self-test"),
        (["ls", "--jsno"], "--json"),
    ],
)
def test_unknown_option(argv: list[str], near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(*argv) == 1
    assert capsys.readouterr().err.endswith(f"; did you mean {near}?\n")


# ---- what comes with us -----------------------------------------------------------------------


@pytest.mark.parametrize("words", [["report", "debian-6.1"], ["trace", "debian-6.1"]])
def test_a_recording_by_its_name(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(words) == 0
    assert "hugetlb-grow" in capsys.readouterr().out


def test_a_name_means_the_same_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who puts a file into a folder does not choose the policy; by ``./`` it is meant."""
    monkeypatch.chdir(tmp_path)
    Path("ordinary-qemu").write_text("nonsense")
    Path("debian-6.1").mkdir()
    assert main.main(["audit", "ordinary-qemu", "debian-6.1"]) in (0, 2, 3, 4)
    assert main.main(["report", "debian-6.1"]) == 0
    capsys.readouterr()
    assert main.main(["audit", "./ordinary-qemu", "debian-6.1"]) == 1
    assert capsys.readouterr().err.startswith("sealsnoop: ./ordinary-qemu:1: ")
    assert main.main(["report", "./debian-6.1"]) == 1
    assert "no sealsnoop recording" in capsys.readouterr().err


@pytest.mark.parametrize("policy", shipped.policies())
def test_a_policy_by_its_name(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(["audit", policy, "debian-7.3", "--json"]) in (0, 2, 3, 4)
    assert json.loads(capsys.readouterr().out)["exit_code"] in (0, 2, 3, 4)


@pytest.mark.parametrize("words", [["audit", "odinary-qemu", "x"], ["trace", "--audit", "only-vm"]])
def test_no_such_policy(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == 1
    assert re.search(
        r"^sealsnoop: policy (odinary-qemu|only-vm): no such file, and none of that name comes "
        r"with sealsnoop; did you mean (ordinary-qemu|only-vmm)\?\n$",
        capsys.readouterr().err,
    )


# ---- what comes after -- ----------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """The arguments that `record` is called with, instead of recording."""
    calls: list[argparse.Namespace] = []

    def run(verb: record.Record, args: argparse.Namespace) -> int:
        calls.append(args)
        return 42

    monkeypatch.setattr(record.Record, "run", run)
    return calls


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], []),
        (["--", "true"], ["true"]),
        (["--denied", "--", "ls", "-l", "--help"], ["ls", "-l", "--help"]),
        (["--", "sh", "-c", "x", "--", "y"], ["sh", "-c", "x", "--", "y"]),
        (["--", "--version"], ["--version"]),
        (["--", ""], [""]),
    ],
)
def test_command(argv: list[str], command: list[str], recorded: list[argparse.Namespace]) -> None:
    assert main.main(["record", *argv]) == 42
    assert [args.command for args in recorded] == [command]
    assert recorded[0].denied is ("--denied" in argv[:1])


def test_an_empty_command_does_not_record_the_host(
    recorded: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends("record", "--") == 1
    message = "sealsnoop: no command after --; see 'sealsnoop record --help'\n"
    assert capsys.readouterr().err == message
    assert recorded == []


def test_other_verbs_take_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("doctor", "--", "true") == 1
    assert "doctor takes no command after --" in capsys.readouterr().err
    assert ends("ls", "--") == 1


# ---- how a verb may end -----------------------------------------------------------------------


def with_doctor(monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], Any]) -> int:
    monkeypatch.setattr(doctor.Doctor, "run", lambda verb, args: run(args))
    return main.main(["doctor"])


def raising(error: BaseException) -> Callable[[Any], NoReturn]:
    def run(args: Any) -> NoReturn:
        raise error

    return run


@pytest.mark.parametrize("code", [0, 3, 126])
def test_exit_code_of_the_verb(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    assert with_doctor(monkeypatch, lambda args: code) == code


@pytest.mark.parametrize(
    ("error", "code"), [(UserError("it is so"), 1), (UserError("it is so", 130), 130)]
)
def test_user_error(
    error: UserError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert with_doctor(monkeypatch, raising(error)) == code
    assert capsys.readouterr() == ("", "sealsnoop: it is so\n")


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_doctor(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "sealsnoop: interrupted\n")


def test_interrupt_while_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(path: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "find", find)
    assert main.main(["doctor"]) == 130
    assert capsys.readouterr().err == "sealsnoop: interrupted\n"


def test_our_own_faults_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        with_doctor(monkeypatch, lambda args: 1 // 0)


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["doctor", "--json"], ["doctor"], ["--help"], ["ls", "--help"]])
def test_a_reader_that_went_away(argv: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = sealsnoop(*argv, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(verb, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: sealsnoop {verb} ")
    examples = out.partition("\nexamples:\n")[2].partition("\n\n")[0]
    assert f"sealsnoop {verb}" in examples.splitlines()[0]
    assert max(map(len, examples.splitlines())) <= 79, "fits a small terminal"


# ---- record, on a host that cannot be traced --------------------------------------------------


def left_of(session: int) -> list[int]:
    """Processes of a session that still live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("output", [[], ["-o", "x.seal"]])
def test_record_says_why_not(tmp_path: Path, output: list[str]) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [*POWERLESS, *COMMAND, "record", *output, "--", "touch", "it-ran"]
    process = subprocess.Popen(
        argv, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "sealsnoop: this kernel cannot be traced:"
    wanted = subprocess.run(
        [*POWERLESS, sys.executable, "-c", REASONS],
        env=environ, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(wanted) >= 2
    assert [line.strip() for line in lines[1:]] == wanted
    assert list(tmp_path.iterdir()) == [], "no recording, and the command never began"
    assert left_of(process.pid) == []


def test_no_such_command(tmp_path: Path) -> None:
    done = sealsnoop("record", "--", "nosuchcommand", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "sealsnoop: nosuchcommand: command not found\n"
    done = sealsnoop("record", "--", "", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (127, "sealsnoop: no command given after --\n")
    done = sealsnoop("record", "--", "/etc/passwd", cwd=tmp_path)
    assert done.returncode == 126
    assert list(tmp_path.iterdir()) == []


# ---- signals ----------------------------------------------------------------------------------

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def as_they_were() -> Any:
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


class Running:
    """A command that runs until it is told to have ended."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


@pytest.mark.usefixtures("as_they_were")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_stops(number: signal.Signals) -> None:
    stop = Stopper(None)
    assert (stop(), stop.interrupted) == (None, False)
    os.kill(os.getpid(), number)
    assert (stop(), stop.interrupted) == (f"interrupted by {number.name}", True)


@pytest.mark.usefixtures("as_they_were")
def test_the_first_ctrl_c_is_the_commands() -> None:
    stop, command = Stopper(None), Running()
    stop.command = command  # type: ignore[assignment]
    os.kill(os.getpid(), signal.SIGINT)
    assert stop() is None
    command.code = 130
    assert stop() == "command exited with 130"
    command.code = None
    os.kill(os.getpid(), signal.SIGINT)
    assert stop() == "interrupted by SIGINT"


@pytest.mark.usefixtures("as_they_were")
def test_sigterm_does_not_wait_for_the_command() -> None:
    stop = Stopper(None)
    stop.command = Running()  # type: ignore[assignment]
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop() == "interrupted by SIGTERM"


@pytest.mark.usefixtures("as_they_were")
def test_a_hangup_counts_once() -> None:
    """A viewer's death is told once for each of its threads; the command goes on all the same."""
    stop = Stopper(None)
    stop.command = Running()  # type: ignore[assignment]
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGHUP)
    assert (stop(), stop.interrupted) == (None, True)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop() == "interrupted by SIGINT"


@pytest.mark.usefixtures("as_they_were")
def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stopper(None)
    os.kill(os.getpid(), signal.SIGHUP)
    assert (stop(), stop.interrupted) == (None, False)


@pytest.mark.usefixtures("as_they_were")
def test_duration_counts_from_the_beginning() -> None:
    stop = Stopper(1e-9)
    assert stop() is None, "not from the start of the program"
    stop.begin()
    assert stop() == "duration"
    long = Stopper(3600)
    long.begin()
    assert long() is None


# ---- small things -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "stem"),
    [
        ([], "host"),
        (["/usr/bin/true"], "true"),
        (["./a b;c\n"], "a_b_c_"),
        (["..."], "command"),
        (["ünï"], "_n_"),
        (["/"], "command"),
    ],
)
def test_default_name(command: list[str], stem: str) -> None:
    name = record._default_name(command)
    assert name.startswith(f"{stem}-2")
    assert len(name) == len(stem) + len("-20260101-000000.seal")


class Terminal:
    """A stderr that says it is one, and keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_progress_line_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracer.capture.session import Progress

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    line = ProgressLine(quiet=False)
    line.show(Progress(12.3, 1_234_567, 0, 5_000_000))
    start = "\r\x1b[K"
    whole = "recording 12 s  1,234,567 events  0/s  lost 0  4.8M  (Ctrl-C ends it)"
    assert terminal.text == start + whole[:59]
    terminal.text = ""
    monkeypatch.setenv("COLUMNS", "200")
    line.show(Progress(12.3, 1_234_567, 89, 5_000_000))
    assert terminal.text == start + whole.replace("lost 0", "\x1b[31mlost 89\x1b[39m")
    terminal.text = ""
    line.clear()
    assert terminal.text == start
    ProgressLine(quiet=True).show(Progress(1, 2, 3, 4))
    assert terminal.text == start
