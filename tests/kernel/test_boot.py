"""The kernels are the ones that were asked for, and everything in them was played."""

import pytest

from tests.kernel.booted import KERNELS, LIVES, Booted
from tests.kernel.guest import ON_EACH, SCENES


def test_release(kernel: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        preemption = kernel.facts("guest")["preemption"]
        print(f"\n  {kernel.name} is {kernel.release}, preemption {preemption}")
        print(f"    seconds: {kernel.scenes}")
    assert kernel.release.startswith(KERNELS[kernel.name])


def test_every_scene_was_played(kernel: Booted) -> None:
    assert not kernel.failed_scenes, "\n".join(kernel.failed_scenes.values())
    played = SCENES if kernel.name == LIVES else ON_EACH
    assert set(kernel.scenes) == {scene.__name__ for scene in played}
    assert kernel.facts("guest")["done"]


def test_nothing_ended_in_a_traceback(kernel: Booted) -> None:
    said = kernel.stderrs()
    assert len(said) > 20
    assert not {name: text for name, text in said.items() if "Traceback" in text}
