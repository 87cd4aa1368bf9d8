"""A task that enters another cgroup, as the kernel's own event tells it."""

import numpy as np

from tracer.capture.ftrace import decode
from tracer.capture.ftrace.decode import ROW
from tracer.capture.ftrace.pages import What


def test_only_moves_in_the_tree_of_v2_count() -> None:
    # 6.1 says of v2: cgroup_mkdir: root=0 id=57 level=1 path=/shown. Hierarchies of v1 come after.
    data = np.zeros(3, [("dst_root", "<i4"), ("dst_id", "<u8"), ("pid", "<i4")])
    data["dst_root"], data["dst_id"], data["pid"] = [0, 1, 5], [57, 2, 3], [10, 11, 12]
    part = np.zeros(3, ROW)
    part["what"] = What.CGROUP
    decode._fill_tracepoint(part, data, What.CGROUP)
    assert part["what"].tolist() == [What.CGROUP, What.NONE, What.NONE]
    assert (part["number"][0], part["tid"][0]) == (57, 10)
