"""``sealsnoop doctor`` on a kernel that can be traced, and in lockdown on one that cannot."""

import json

import pytest

from tests.kernel.booted import Booted


@pytest.mark.parametrize("method", ["auto", "fexit", "kprobe"])
def test_doctor_tells_the_plan_that_a_recording_has(kernel: Booted, method: str) -> None:
    told = kernel.told(f"doctor-{method}")
    assert told.code == 0, told.stdout
    report = json.loads(told.stdout)
    assert report["can_record"]
    assert all(one["can"] for one in report["sources"].values())
    assert report["complete"]
    recording = kernel.run("memfd_test" if method == "auto" else f"default-{method}")
    assert report["hooks"] == recording.manifest["hooks"]
    assert report["kernel"]["release"] == kernel.release == recording.manifest["kernel"]["release"]


def test_methods_are_used_as_asked(kernel: Booted) -> None:
    for method in ("fexit", "kprobe"):
        hooks = kernel.run(f"default-{method}").manifest["hooks"]
        live = [step for step in hooks if step["method"]]
        assert len(live) >= 10
        assert {step["method"] for step in live} == {method}


def test_lockdown_is_named(locked_down: Booted) -> None:
    assert not locked_down.failed_scenes, "\n".join(locked_down.failed_scenes.values())
    doctor = locked_down.told("doctor")
    records = [locked_down.told(f"record-{source}") for source in ("bpf", "ftrace")]
    assert doctor.code == 2, doctor.stdout
    for record in records:
        assert record.code == 1, record.stderr
    for said in (doctor.stdout, *(record.stderr for record in records)):
        assert "lockdown" in said
        assert "confidentiality" in said
    assert locked_down.told("doctor-json").code == 2
    report = json.loads(locked_down.told("doctor-json").stdout)
    assert not report["can_record"]
    assert not any(one["can"] for one in report["sources"].values())
    bad = [one for one in report["findings"] if one["ok"] is False]
    assert any("lockdown" in one["name"] for one in bad)
    assert all(one["remedy"] for one in bad)
    assert not {n: said for n, said in locked_down.stderrs().items() if "Traceback" in said}
    assert not (locked_down.folder / "no.seal").exists()
