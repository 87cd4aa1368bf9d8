"""Events that no hook family has: who a task became, and which file a new descriptor got."""

from tracer.capture.ftrace.fetch import Fetch
from tracer.capture.ftrace.probes import Probe
from tracer.capture.ftrace.what import What
from tracer.model.words import Hook

TRACEPOINTS = (
    ("task", "task_newtask", What.NEWTASK),
    ("sched", "sched_process_exit", What.EXIT),
    ("cgroup", "cgroup_attach_task", What.CGROUP),
)


def supplements(fetch: Fetch) -> tuple[Probe, ...]:
    """The kprobe events among them; `TRACEPOINTS` are the others."""
    inode = fetch.inode("%si")
    return (
        Probe(
            "install", "create", Hook.CREATE, What.INSTALL, None, "p", "fd_install",
            ("fd=%di:s32", *fetch.object(inode)), fetch.sealable(True),
        ),
        Probe(
            "creds", "", Hook.NONE, What.CREDS, None, "p", "commit_creds",
            (f"cuid={fetch.at('CRED_UID', '%di')}:u32",),
        ),
    )  # fmt: skip
