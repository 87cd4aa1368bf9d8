"""Runs inside the booted kernel: all that this kernel has to show, in one boot.

``python -m tests.kernel.guest OUT [--only SCENE,…]`` writes recordings, truths and results.json
into OUT, where the tests on the host read them. A scene that fails is a result like any other:
the scenes after it still run, and the tests that need it fail with its traceback. Scenes that
another guest played before it died (booting.py) are not played again.
"""

import argparse
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.kernel import (
    scenes_attacks,
    scenes_audit,
    scenes_decisions,
    scenes_exec,
    scenes_followed,
    scenes_ftrace,
    scenes_guest,
    scenes_inaccessible,
    scenes_judge,
    scenes_life,
    scenes_matrix,
    scenes_names,
    scenes_private,
    scenes_readme,
    scenes_stacks,
    scenes_ui,
)
from tests.kernel.guest_tools import Results, preemption

_SCENE_S = 1800
"""For one scene; less than the boot has, so that a scene that waits for ever says where it does."""

Scenes = tuple[Callable[[Results], None], ...]

ON_EACH: Scenes = (
    scenes_decisions.doctor,
    scenes_decisions.truth_default,
    scenes_decisions.truth_quick,
    scenes_decisions.awkward,
    scenes_decisions.race,
    scenes_judge.security_module,
    scenes_judge.holes,
    scenes_judge.memfd_test,
)
"""What every kernel may answer in its own way."""

REPEATED: Scenes = (
    scenes_ftrace.ftrace,
    scenes_ftrace.ftrace_awkward,
    scenes_exec.execs,
    scenes_decisions.filters,
    scenes_names.names,
    scenes_names.acting,
    scenes_names.filtered,
    scenes_ui.live_view,
    scenes_followed.traced,
    scenes_followed.followed,
    scenes_followed.followed_by_each,
    scenes_stacks.stacks,
    scenes_stacks.stacks_of_a_thousand,
    scenes_stacks.stacks_of_qemu,
)
"""What is the same on all of them by our own code, or is asked of others in short
(scenes_matrix): `make test` plays it on one, `make matrix` on more."""

LIFE: Scenes = (
    scenes_judge.strangers,
    scenes_life.killed,
    scenes_life.interrupted,
    scenes_life.full_disk_and_killed_command,
    scenes_life.hostile_names,
    scenes_life.interrupted_early,
    scenes_life.refused,
    scenes_life.silent_file_system,
    scenes_life.privileges,
    scenes_life.without_root,
    scenes_readme.readme,
)
"""Programs of others; how recordings begin, end and survive: our own doing, so one kernel is
enough."""

SCENES: Scenes = (*ON_EACH, *REPEATED, *LIFE)


AT_LENGTH = (
    "followed_by_each",
    "kvm_comes_and_goes",
    "late_kvm",
    "privileges",
    "readme",
    "execs_at_length",
    "stacks_of_a_thousand",
    "stacks_of_qemu",
)
"""Scenes of two or three minutes that `make matrix` alone plays, with the tests that are marked so:
what they show has shorter ones beside it."""


def lockdown(results: Results) -> None:
    scenes_life.lockdown(results)


OTHER_SCENES: Scenes = (
    lockdown,
    scenes_matrix.matrix,
    scenes_exec.execs_at_length,
    scenes_inaccessible.proposal,
    scenes_inaccessible.proposal_swap,
    scenes_inaccessible.proposal_race,
    scenes_inaccessible.proposal_long_race,
    scenes_inaccessible.proposal_broken,
    scenes_guest.guests,
    scenes_guest.kvm_comes_and_goes,
    scenes_audit.audits,
    scenes_attacks.attacks,
    scenes_attacks.late_kvm,
    scenes_attacks.late_kvm_refused,
    scenes_decisions.live_without_apt,
    scenes_private.private_doctor,
    scenes_private.private_memory,
    scenes_private.conversions_by_ftrace,
    scenes_private.stock_conversions,
    scenes_private.sev_commands,
    scenes_private.frozen,
    scenes_private.busy,
)
"""In boots of their own: with other options."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"the scene took more than {_SCENE_S} s")


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--only", default="")
    args = arguments.parse_args()
    results = Results(args.out)
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    release = os.uname().release
    results.tell(
        "guest", release=release, cpus=os.cpu_count(), preemption=preemption(), system=system
    )
    signal.signal(signal.SIGALRM, _too_long)
    wanted = [name for name in args.only.split(",") if name]
    all_well = True
    for scene in (*SCENES, *OTHER_SCENES):
        if scene.__name__ not in wanted if wanted else scene in OTHER_SCENES:
            continue
        if f"scene {scene.__name__}" in results:
            continue
        began = time.monotonic()
        error = None
        signal.alarm(_SCENE_S)
        try:
            scene(results)
        except Exception:
            error = traceback.format_exc()
        finally:
            signal.alarm(0)
        seconds = round(time.monotonic() - began, 1)
        results.tell(f"scene {scene.__name__}", error=error, seconds=seconds)
        print(f"{scene.__name__}: {seconds} s{' FAILED' if error else ''}", file=sys.stderr)
        all_well = all_well and error is None
        if all_well:  # a failure may be the emulator's too
            results.keep()
    results.tell("guest", done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
