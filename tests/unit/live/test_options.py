"""Command lines of ``live`` and ``replay``: what is taken, what is refused and with which words."""

import argparse
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealsnoop import main, verbs
from tracer.audit.policy import RECORD_OPTIONS
from tracer.cli.options import policy as policy_of
from tracer.cli.options import recorder_words
from tracer.cli.record import Record
from tracer.errors import UserError
from ui.verbs import VERBS as VIEWS
from ui.verbs import options
from ui.verbs.live import Live

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "samples" / "recordings" / "debian-6.1.seal"
COSTLY = {
    "bcc",
    "numpy",
    "pandas",
    "pyarrow",
    "textual",
    "rich",
    "tracer.recording",
    "asyncio",
    "ui.app",
}
HELP = """
import json, sys
from sealsnoop import main
try:
    main([sys.argv[1], "--help"])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def parsed(*argv: str) -> argparse.Namespace:
    return Live().parser().parse_args(argv)


def recorded(words: list[str]) -> dict[str, object]:
    return vars(Record().parser().parse_args(words))


# ---- the recorder's options --------------------------------------------------------------------

TEXT = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=8)
OPTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["--name", "--seals", "--ops", "--uid", "--cgroup"]), TEXT).map(
            lambda pair: f"{pair[0]}={pair[1]}"
        ),
        st.integers(-5, 99999).map(lambda pid: f"--pid={pid}"),
        st.floats(0.1, 1000).map(lambda seconds: f"--duration={seconds!r}"),
        st.sampled_from([1, 32, 64]).map(lambda size: f"--ring={size}"),
        st.sampled_from(
            ["--method=kprobe", "--no-baseline", "--denied", "--unsealable", "--force"]
        ),
    ),
    max_size=6,
)


@settings(deadline=None)  # the first example imports what the others find there
@given(OPTIONS)
def test_the_recorder_gets_what_was_asked_for(words: list[str]) -> None:
    """``live``'s options lead to the very same recording as the same options of ``record``."""
    passed = recorder_words(parsed(*words))
    assert recorded(passed) == recorded(words)


def test_no_option_is_passed_without_need() -> None:
    assert recorder_words(parsed()) == []
    args = parsed("-o", "x.seal", "--pid", "1", "--pid", "2", "--theme", "nord")
    assert recorder_words(args) == ["--pid=1", "--pid=2"]


def test_every_option_of_record_is_one_of_live() -> None:
    # --audit of live names a policy, which makes the recorder's --audit; --steps live gives itself.
    assert set(recorded([])) - {"audit", "steps"} <= set(vars(parsed()))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["live", str(SAMPLE), "--pid", "1"], "--pid=1: nothing is recorded when a RECORDING is"),
        (["live", str(SAMPLE), "-o", "x"], "-o: nothing is recorded"),
        (["live", str(SAMPLE), "--", "true"], "a command: nothing is recorded"),
        (["live", "--"], "no command after --"),
        (["replay", str(SAMPLE), "--", "true"], "replay takes no command after --"),
        (["live", str(SAMPLE), "--port", "1"], "--port: only with --web"),
        (["live", str(SAMPLE), "--web", "--port", "99999"], "--port: 99999 is not a port"),
        (["live", str(SAMPLE), "--on-violation", ""], "--on-violation: no command given"),
        (["live", str(SAMPLE), "--on-violation", "a 'b"], "--on-violation: no closing quotation"),
        (["live", str(SAMPLE), "--on-violation", "no-such -x"], "'no-such' is not a program"),
        (["live", str(SAMPLE), "--web", "--on-violation", "true"], "--on-violation: not with"),
        (["replay", str(SAMPLE), "--speed", "0"], "--speed: '0' is not 0.1 to 100, or max"),
        (["replay", str(SAMPLE), "--speed", "x"], "--speed: 'x' is not"),
    ],
)
def test_refused(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(argv)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


@pytest.mark.parametrize("verb", ["live", "replay"])
@pytest.mark.parametrize("web", [[], ["--web"]])
def test_a_wrong_policy(
    verb: str, web: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is shown or served, with its line."""
    policy = tmp_path / "p.toml"
    policy.write_text('name = "x"\nformat = 1\n[[claim]]\nclaim = "never-maped"\n')
    assert main([verb, str(SAMPLE), "--audit", str(policy), *web]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{policy}:4:" in err
    assert "never-mapped" in err, "the nearest one is named"
    assert main([verb, str(SAMPLE), "--audit", str(tmp_path / "none.toml"), *web]) == 1


def test_a_policy_decides_what_is_recorded_and_who_sees_it() -> None:
    path = str(ROOT / "samples" / "policies" / "sealed-buffer.toml")
    args = parsed("--audit", path)
    assert recorder_words(args) == []
    policy = policy_of(args)
    assert policy is not None
    assert recorded([*RECORD_OPTIONS])["audit"] is True
    assert recorded([*RECORD_OPTIONS])["unsealable"] is True
    (word,) = options.viewer_words(args)
    assert word == f"--audit={os.path.abspath(path)}"


def test_a_filter_is_the_views_own(capsys: pytest.CaptureFixture[str]) -> None:
    args = parsed("--filter", "op:mmap verdict:breach", "--filter", "uid:0")
    assert recorder_words(args) == []
    assert options.viewer_words(args) == ["--filter=op:mmap verdict:breach", "--filter=uid:0"]
    assert main(["replay", str(SAMPLE), "--filter", "opp:x"]) == 1
    assert "there is no key 'opp'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("0.1x", 0.1), ("100", 100.0), ("2.5x", 2.5), (".5", 0.5), ("max", float("inf"))],
)
def test_speed(text: str, value: float) -> None:
    assert options.speed(text) == value


@pytest.mark.parametrize("text", ["0.09", "101", "-1", "1e3", "nan", "٣", "1.5.2", ""])
def test_no_speed(text: str) -> None:
    with pytest.raises(UserError) as caught:
        options.speed(text)
    assert caught.value.exit_code == 1


def test_themes() -> None:
    assert options.theme(parsed()) == "sealsnoop"
    assert options.theme(parsed("--theme", "nord")) == "nord"
    with pytest.raises(UserError, match=r"no theme 'sealsnop'; did you mean sealsnoop\?"):
        options.theme(parsed("--theme", "sealsnop"))


# ---- help --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VIEWS)
def test_help_imports_nothing_costly(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, verb], cwd=ROOT, capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert f"ui.verbs.{verb}" in modules
    assert COSTLY.isdisjoint(modules)


def test_all_verbs_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    out = capsys.readouterr().out
    assert list(verbs())[:3] == ["record", "live", "replay"]
    for verb in verbs():
        assert re.search(rf"\n    {verb}[ \n]", out)


# ---- where there is no terminal for it ---------------------------------------------------------


def on_terminal(
    *argv: str, term: str = "xterm-256color", size: tuple[int, int] = (80, 24)
) -> tuple[int, str]:
    """Runs the command on a terminal of our own; its exit code and what it wrote."""
    ours, its = pty.openpty()
    import termios

    termios.tcsetwinsize(its, (size[1], size[0]))
    with subprocess.Popen(
        [sys.executable, "-m", "sealsnoop", *argv],
        stdin=its, stdout=its, stderr=its, cwd=ROOT, start_new_session=True,
        env={**os.environ, "TERM": term, "TEXTUAL_DRIVER": ""},
    ) as process:  # fmt: skip
        os.close(its)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    return process.returncode, said.decode()


@pytest.mark.parametrize("verb", VIEWS)
def test_no_terminal(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sealsnoop", verb, str(SAMPLE)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "standard input is none" in done.stderr
    assert f"'sealsnoop script --follow {SAMPLE}'" in done.stderr
    assert f"'sealsnoop report {SAMPLE}'" in done.stderr


@pytest.mark.parametrize(
    ("term", "size", "words"),
    [
        ("dumb", (80, 24), "TERM='dumb'"),
        ("", (80, 24), "TERM=''"),
        ("xterm", (20, 5), "has 20x5 cells, and the view needs 50x14"),
        ("xterm", (49, 24), "has 49x24 cells"),
    ],
)
def test_terminals_that_cannot_do(term: str, size: tuple[int, int], words: str) -> None:
    code, said = on_terminal("live", str(SAMPLE), term=term, size=size)
    assert code == 1
    assert words in said
    assert "sealsnoop report" in said
    assert "\x1b" not in said, "the terminal was not touched"


def test_nothing_to_follow_and_no_terminal() -> None:
    code, said = on_terminal("live", term="dumb")
    assert code == 1
    assert "'sealsnoop record -o S.seal' records without one" in said


def test_limits_are_the_screens_own() -> None:
    from ui.screens import base
    from ui.verbs import options as terminal

    assert (terminal.LEAST_WIDTH, terminal.LEAST_HEIGHT) == (base.LEAST_WIDTH, base.LEAST_HEIGHT)
