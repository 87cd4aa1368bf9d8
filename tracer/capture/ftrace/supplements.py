"""Events that no hook family has: who a task became."""

from tracer.capture.ftrace.fetch import Fetch
from tracer.capture.ftrace.probes import Probe
from tracer.capture.ftrace.what import What
from tracer.model.words import Hook

TRACEPOINTS = (
    ("task", "task_newtask", What.NEWTASK),
    ("sched", "sched_process_exit", What.EXIT),
    ("sched", "sched_process_exec", What.EXEC),
    ("cgroup", "cgroup_attach_task", What.CGROUP),
)


WITNESSES = tuple(
    Probe("mmap_seen", "", Hook.MMAP, What.NONE, None, "p", place, (), "common_pid == 0")
    for place in ("security_mmap_file", "do_mmap")
)
"""For kernels where a fault in a fetch counts as a miss (`Fetch.faults_are_misses`): whoever maps
without a file makes mmap's own fetches fault, each time. The first of these that is there fetches
nothing and is never told; it is entered within the same calls, and missed where they are missed: a
kernel skips a probe for another one that is being handled on that CPU."""


def supplements(fetch: Fetch) -> tuple[Probe, ...]:
    """The kprobe events among them; `TRACEPOINTS` are the others."""
    return (
        Probe(
            "creds", "", Hook.NONE, What.CREDS, None, "p", "commit_creds",
            (f"cuid={fetch.at('CRED_UID', '%di')}:u32",),
        ),
    )  # fmt: skip
