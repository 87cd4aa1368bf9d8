"""What a cgroup path says of who runs there, and what of it is believed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cgroup_forms import FORMS, ID, POD, UPOD, Form
from tracer.cgroups import UNKNOWN_USER, Place, label, parse, roots_levels


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.path)
def test_a_form_that_exists(form: Form) -> None:
    assert parse(form.path) == form.place
    assert form.source


def test_there_are_forty_forms() -> None:
    assert len({form.path for form in FORMS}) >= 40


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.path)
def test_what_nobody_believes_names_nobody(form: Form) -> None:
    found = parse(form.path, trusted=0)
    assert replace(found, inner=None) == Place()


# ---- what root named ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named_by", "count"),
    [
        ([], 0),
        ([0, 0], 2),
        ([0, 1000, 0], 1),  # root's below a user's: the user chose what it stands in
        ([1000], 0),
        ([0, UNKNOWN_USER, 0], 1),
    ],
)
def test_levels_that_root_named(named_by: list[int], count: int) -> None:
    assert roots_levels(named_by) == count


# ---- forgeries ---------------------------------------------------------------------------------

_MANAGER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    "claim",
    [
        f"docker-{ID}.scope",
        f"kubepods.slice/kubepods-pod{UPOD}.slice/cri-containerd-{ID}.scope",
        "machine-qemu\\x2d1\\x2dbank.scope",
        "system.slice/ssh.service",
        "user-0.slice",
        f"lxc.payload.{ID}",
    ],
)
def test_a_user_cannot_call_himself_something_else(claim: str) -> None:
    # Whether or not the owners are known, below a user's own manager nothing is believed.
    for trusted in (None, 3, 4):
        found = parse(f"{_MANAGER}/{claim}", trusted)
        assert replace(found, inner=None) == Place(
            slice="user-1000.slice", unit="user@1000.service", user=1000
        )
        assert found.inner


def test_a_delegated_service_names_nothing() -> None:
    found = parse(f"/system.slice/web.service/docker-{ID}.scope", trusted=2)
    assert (found.unit, found.container) == ("web.service", "")
    assert found.inner is not None
    assert found.inner.container == ID


def test_the_outermost_container_is_the_one() -> None:
    inside = parse(f"/system.slice/docker-{ID}.scope/docker/{'a' * 64}")
    assert inside.container == ID
    assert inside.inner == Place(runtime="docker", container="a" * 64)


@pytest.mark.parametrize(
    "path",
    [
        "/system.slice/docker-proxy.scope",
        f"/system.slice/docker-{ID[:-1]}.scope",
        f"/system.slice/docker-{ID}0.scope",
        f"/system.slice/docker-{ID.upper()}.scope",
        "/docker/web",
        "/system.slice/docker.service",
        f"/system.slice/x.slice:docker:{ID}:1",
        "/machine.slice/machine-.scope",
        "/other/113.scope",
        "/other/default/x",
        "/lxc.monitor.web",
        f"/pod{POD}/x",
    ],
)
def test_what_looks_alike_is_nothing(path: str) -> None:
    found = parse(path)
    assert (found.container, found.vm, found.pod) == ("", "", "")


@given(st.text(max_size=300), st.none() | st.integers(0, 20))
def test_any_text_parses(path: str, trusted: int | None) -> None:
    found = parse(path, trusted)
    label(found)
    if found.inner:
        assert found.inner != Place()


def test_a_label_is_short() -> None:
    said = {
        f"/system.slice/docker-{ID}.scope": f"docker {ID[:12]}",
        f"/kubepods/pod{POD}/{ID}": f"pod {POD}, container {ID[:12]}",
        f"/kubepods.slice/kubepods-pod{UPOD}.slice": f"pod {POD}",
        "/system.slice/ssh.service": "ssh.service",
        "/system.slice": "system.slice",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm1.scope": "vm vm1",
        f"{_MANAGER}/docker-{ID}.scope": "",
        "/user.slice/user-1000.slice/session-3.scope": "",
        "/": "",
    }
    assert {path: label(parse(path)) for path in said} == said
