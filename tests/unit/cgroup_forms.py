"""Forms of cgroup paths that exist, where each comes from, and what it says.

Ids are made up; what is before and behind them is as the source named makes it.
"""

from typing import NamedTuple

from tracer.cgroups import Place

ID = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"
POD = "214f3ba8-4b69-4bdb-a7d5-5ecc73f04ae9"
UPOD = POD.replace("-", "_")
STATIC = "d0d034ed520411e79710507b9d27b5d9"


class Form(NamedTuple):
    """One form."""

    path: str
    place: Place
    source: str


def _manager(inner: Place) -> Place:
    """Below a user's own service manager, which names as it likes."""
    return Place(slice="user-1000.slice", unit="user@1000.service", user=1000, inner=inner)


_MANAGER = "/user.slice/user-1000.slice/user@1000.service"
_BURSTABLE = "/kubepods.slice/kubepods-burstable.slice"
_KIND = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"

FORMS = (
    # systemd: units, slices, users.
    Form("/", Place(), "the root: kernel/cgroup/cgroup.c, kthreads stand there"),
    Form("/init.scope", Place(unit="init.scope"), "systemd: systemd.special(7)"),
    Form(
        "/system.slice/getty@tty5.service/aaa/bbb",
        Place(slice="system.slice", unit="getty@tty5.service"),
        "systemd: src/test/test-cgroup-util.c, test_path_get_unit",
    ),
    Form(
        "/system.slice/system-waldo.slice/_cpu.service/sdfdsaf",
        Place(slice="system-waldo.slice", unit="cpu.service"),
        "systemd: src/test/test-cgroup-util.c, test_path_get_unit (cg_escape)",
    ),
    Form(
        "/system.slice/dbus.socket",
        Place(slice="system.slice", unit="dbus.socket"),
        "systemd: systemd.resource-control(5), units with processes",
    ),
    Form(
        "/user.slice/user-1000.slice/session-2.scope",
        Place(slice="user-1000.slice", unit="session-2.scope", user=1000),
        "systemd: src/test/test-cgroup-util.c, test_path_get_session",
    ),
    Form(
        f"{_MANAGER}/init.scope",
        _manager(Place(unit="init.scope")),
        "systemd: user@.service(5)",
    ),
    Form(
        f"{_MANAGER}/piep.slice/foo.service",
        _manager(Place(slice="piep.slice", unit="foo.service")),
        "systemd: src/test/test-cgroup-util.c, test_path_get_user_slice",
    ),
    # docker
    Form(
        f"/system.slice/docker-{ID}.scope",
        Place(slice="system.slice", unit=f"docker-{ID}.scope", runtime="docker", container=ID),
        "moby: daemon/oci_linux.go, WithCgroups (systemd)",
    ),
    Form(
        f"/docker/{ID}",
        Place(runtime="docker", container=ID),
        "moby: daemon/oci_linux.go, WithCgroups (cgroupfs)",
    ),
    Form(
        f"{_MANAGER}/user.slice/docker-{ID}.scope",
        _manager(
            Place(slice="user.slice", unit=f"docker-{ID}.scope", runtime="docker", container=ID)
        ),
        "moby: daemon/oci_linux.go, WithCgroups (rootless: user.slice)",
    ),
    Form(
        "/docker/buildkit/n4eu0udvbz9vfzjy71jkvgkwh",
        Place(runtime="buildkit", container="n4eu0udvbz9vfzjy71jkvgkwh"),
        "moby: builder/builder-next/executor_linux.go (DefaultCgroupParent docker/buildkit)",
    ),
    Form(
        f"/ecstasks.slice/ecstasks-529630467358463ab6bbba4e73afe704.slice/docker-{ID}.scope",
        Place(
            slice="ecstasks-529630467358463ab6bbba4e73afe704.slice",
            unit=f"docker-{ID}.scope",
            runtime="docker",
            container=ID,
        ),
        "amazon-ecs-agent: cgroupv2_controller_linux.go, fullCgroupPath",
    ),
    Form(
        f"/ecs/529630467358463ab6bbba4e73afe704/{ID}",
        Place(container=ID),
        "amazon-ecs-agent: agent/config/config_unix.go, DefaultTaskCgroupV1Prefix",
    ),
    # podman
    Form(
        f"/machine.slice/libpod-{ID}.scope/container",
        Place(slice="machine.slice", unit=f"libpod-{ID}.scope", runtime="podman", container=ID),
        "podman: libpod/container.go, cGroupPath; crun's folder below",
    ),
    Form(
        f"/machine.slice/libpod-conmon-{ID}.scope",
        Place(slice="machine.slice", unit=f"libpod-conmon-{ID}.scope"),
        "podman: libpod/oci_conmon_linux.go, moveConmonToCgroup; conmon runs on the host",
    ),
    Form(
        f"/machine.slice/machine-libpod_pod_{ID}.slice/libpod-{ID}.scope",
        Place(
            slice=f"machine-libpod_pod_{ID}.slice",
            unit=f"libpod-{ID}.scope",
            runtime="podman",
            container=ID,
        ),
        "podman: libpod/runtime_pod_linux.go, platformMakePod",
    ),
    Form(
        f"/libpod_parent/libpod-{ID}",
        Place(runtime="podman", container=ID),
        "podman: libpod/container.go, CgroupfsDefaultCgroupParent (cgroupfs)",
    ),
    Form(
        f"/libpod_parent/{STATIC}{STATIC}/libpod-{ID}",
        Place(runtime="podman", container=ID),
        "podman: libpod/runtime_pod_linux.go (cgroupfs), a pod's folder",
    ),
    Form(
        f"{_MANAGER}/user.slice/libpod-{ID}.scope",
        _manager(
            Place(slice="user.slice", unit=f"libpod-{ID}.scope", runtime="podman", container=ID)
        ),
        "podman: libpod/container.go, CGroupPath (rootless)",
    ),
    Form(
        f"/system.slice/nginx.service/libpod-payload-{ID}",
        Place(slice="system.slice", unit="nginx.service", runtime="podman", container=ID),
        "podman-run(1), --cgroups=split; podman-systemd.unit(5)",
    ),
    # containerd
    Form(
        f"/default/{ID}",
        Place(runtime="containerd", container=ID),
        "containerd: pkg/oci/spec_opts.go, WithNamespacedCgroup (nerdctl with cgroupfs)",
    ),
    Form(
        "/default/redis-server",
        Place(runtime="containerd", container="redis-server"),
        "containerd: pkg/oci/spec_opts.go, WithNamespacedCgroup (ctr run IMAGE redis-server)",
    ),
    Form(
        f"/k8s.io/{ID}",
        Place(runtime="containerd", container=ID),
        "containerd: pkg/oci/spec_opts.go, WithNamespacedCgroup; in Kata's guests",
    ),
    Form(
        f"/system.slice/nerdctl-{ID}.scope",
        Place(slice="system.slice", unit=f"nerdctl-{ID}.scope", runtime="containerd", container=ID),
        "nerdctl: cmd/nerdctl/run_cgroup_linux.go, slice:nerdctl:id",
    ),
    # Kubernetes
    Form(
        f"{_BURSTABLE}/kubepods-burstable-pod{UPOD}.slice/cri-containerd-{ID}.scope",
        Place(
            slice=f"kubepods-burstable-pod{UPOD}.slice",
            unit=f"cri-containerd-{ID}.scope",
            runtime="containerd",
            container=ID,
            pod=POD,
        ),
        "kubernetes: pkg/kubelet/cm/cgroup_manager_linux.go; containerd: getCgroupsPath",
    ),
    Form(
        f"/kubepods.slice/kubepods-pod{UPOD}.slice/docker-{ID}.scope",
        Place(
            slice=f"kubepods-pod{UPOD}.slice",
            unit=f"docker-{ID}.scope",
            runtime="docker",
            container=ID,
            pod=POD,
        ),
        "kubernetes: pod_container_manager_linux.go, guaranteed, so no QoS folder; cri-dockerd",
    ),
    Form(
        f"{_BURSTABLE}/kubepods-burstable-pod{STATIC}.slice/crio-{ID}.scope/container",
        Place(
            slice=f"kubepods-burstable-pod{STATIC}.slice",
            unit=f"crio-{ID}.scope",
            runtime="cri-o",
            container=ID,
            pod=STATIC,
        ),
        "kubernetes: pkg/kubelet/config/common.go, applyDefaults: a static pod's uid is a hash; "
        "cri-o: internal/config/cgmgr/systemd_linux.go, scopePrefix",
    ),
    Form(
        f"{_BURSTABLE}/kubepods-burstable-pod{UPOD}.slice/crio-conmon-{ID}.scope",
        Place(slice=f"kubepods-burstable-pod{UPOD}.slice", unit=f"crio-conmon-{ID}.scope", pod=POD),
        "cri-o: internal/config/cgmgr/systemd_linux.go, MoveConmonToCgroup; on the host",
    ),
    Form(
        f"/kubepods/burstable/pod{POD}/{ID}",
        Place(container=ID, pod=POD),
        "kubernetes: pod_container_manager_linux.go (cgroupfs); containerd: getCgroupsPath",
    ),
    Form(
        f"/kubepods/pod{STATIC}/{ID}",
        Place(container=ID, pod=STATIC),
        "kubernetes: pod_container_manager_linux.go (cgroupfs), guaranteed, static",
    ),
    Form(
        f"/kubepods/besteffort/pod{POD}/crio-{ID}",
        Place(runtime="cri-o", container=ID, pod=POD),
        "cri-o: internal/config/cgmgr/cgroupfs_linux.go, ContainerCgroupPath",
    ),
    Form(
        f"/system.slice/containerd.service/kubepods-besteffort-pod{UPOD}.slice:cri-containerd:{ID}",
        Place(
            slice="system.slice",
            unit="containerd.service",
            runtime="containerd",
            container=ID,
            pod=POD,
        ),
        "prometheus/procfs and OpenTelemetry detectors: kubelet with systemd, runc without",
    ),
    Form(
        f"/kubepods-burstable-pod{UPOD}.slice:cri-containerd:{ID}",
        Place(runtime="containerd", container=ID, pod=POD),
        "containerd: internal/cri/server/helpers_test.go, TestGetCgroupsPath; k3s",
    ),
    Form(
        f"{_KIND}/kubelet-kubepods-burstable-pod{UPOD}.slice/cri-containerd-{ID}.scope",
        Place(
            slice=f"kubelet-kubepods-burstable-pod{UPOD}.slice",
            unit=f"cri-containerd-{ID}.scope",
            runtime="containerd",
            container=ID,
            pod=POD,
        ),
        "kubernetes-sigs/kind: pkg/cluster/internal/kubeadm/config.go, cgroupRoot: /kubelet",
    ),
    Form(
        f"/system.slice/docker-{STATIC}{STATIC}.scope{_KIND}"
        f"/kubelet-kubepods-burstable-pod{UPOD}.slice/cri-containerd-{ID}.scope",
        Place(
            slice="system.slice",
            unit=f"docker-{STATIC}{STATIC}.scope",
            runtime="docker",
            container=STATIC * 2,
            inner=Place(
                slice=f"kubelet-kubepods-burstable-pod{UPOD}.slice",
                unit=f"cri-containerd-{ID}.scope",
                runtime="containerd",
                container=ID,
                pod=POD,
            ),
        ),
        "kubernetes-sigs/kind, as its host sees it: a node is a docker container",
    ),
    # Virtual machines and machined
    Form(
        "/machine.slice/machine-qemu\\x2d1\\x2dvm1.scope/libvirt/emulator",
        Place(slice="machine.slice", unit="machine-qemu\\x2d1\\x2dvm1.scope", vm="vm1"),
        "libvirt: docs/cgroups.rst, Systemd cgroup layout",
    ),
    Form(
        "/machine.slice/machine-qemu\\x2d16\\x2ddebian12\\x2d1.scope/emulator",
        Place(
            slice="machine.slice",
            unit="machine-qemu\\x2d16\\x2ddebian12\\x2d1.scope",
            vm="debian12-1",
        ),
        "libvirt: docs/cgroups.rst, before 7.1.0 without the folder libvirt",
    ),
    Form(
        "/machine.slice/machine-engineering.slice/machine-engineering-production.slice"
        "/machine-lxc\\x2d22222\\x2dcontainer2.scope",
        Place(
            slice="machine-engineering-production.slice",
            unit="machine-lxc\\x2d22222\\x2dcontainer2.scope",
            runtime="libvirt-lxc",
            container="container2",
        ),
        "libvirt: docs/cgroups.rst, Systemd cgroup layout",
    ),
    Form(
        "/machine/qemu-1-instance-00000025.libvirt-qemu/emulator",
        Place(vm="instance-00000025"),
        "libvirt: docs/cgroups.rst, Non-systemd cgroups layout; OpenStack in containers",
    ),
    Form(
        "/machine/engineering.partition/production.partition/lxc-22222-container2.libvirt-lxc",
        Place(runtime="libvirt-lxc", container="container2"),
        "libvirt: docs/cgroups.rst, Non-systemd cgroups layout",
    ),
    Form(
        "/machine/instance-000065d7.libvirt-qemu/vcpu0",
        Place(vm="instance-000065d7"),
        "libvirt before 1.3: src/util/vircgroup.c, virCgroupValidateMachineGroup",
    ),
    Form(
        "/machine.slice/machine-web\\x2dfront.scope/payload/system.slice/nginx.service",
        Place(
            slice="machine.slice",
            unit="machine-web\\x2dfront.scope",
            runtime="machined",
            container="web-front",
            inner=Place(slice="system.slice", unit="nginx.service"),
        ),
        "systemd: systemd-nspawn(1); src/machine/machine-dbus.c, machine_start_scope",
    ),
    Form(
        "/machine.slice/systemd-nspawn@web-front.service/supervisor",
        Place(
            slice="machine.slice",
            unit="systemd-nspawn@web-front.service",
            runtime="nspawn",
            container="web-front",
        ),
        "systemd: units/systemd-nspawn@.service.in (--machine=%i)",
    ),
    Form(
        "/machine.slice/systemd-vmspawn@fedora.service",
        Place(slice="machine.slice", unit="systemd-vmspawn@fedora.service", vm="fedora"),
        "systemd: units/systemd-vmspawn@.service.in",
    ),
    Form(
        "/qemu.slice/113.scope",
        Place(slice="qemu.slice", unit="113.scope", vm="113"),
        "Proxmox VE: qemu-server, src/PVE/Systemd (enter_systemd_scope); qmeventd.c",
    ),
    # LXC
    Form(
        "/lxc.payload.web/init.scope",
        Place(runtime="lxc", container="web", inner=Place(unit="init.scope")),
        "lxc: src/lxc/cgroups/cgroup.h, DEFAULT_PAYLOAD_CGROUP_PREFIX (also LXD, Incus)",
    ),
    Form(
        "/lxc.monitor.web",
        Place(),
        "lxc: src/lxc/cgroups/cgroup.h, DEFAULT_MONITOR_CGROUP_PREFIX; runs on the host",
    ),
    Form(
        "/lxc/101/ns/system.slice/cron.service",
        Place(
            runtime="lxc",
            container="101",
            inner=Place(slice="system.slice", unit="cron.service"),
        ),
        "Proxmox VE: pve-container, src/PVE/LXC.pm (lxc.cgroup.dir.container)",
    ),
)
