"""Reader of BTF, the kernel's own description of its types and functions.

Struct offsets and argument places come from here, so that no kernel version is ever looked at.
The reader takes ``/sys/kernel/btf/vmlinux`` and the split BTF of a module
(``/sys/kernel/btf/MODULE``, whose type ids and string offsets go on where vmlinux's end).

Format: ``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h`` of the kernel tree. The
files may come from anywhere (a recording's host, a broken extraction), so whatever is wrong with
one ends in `BtfError`.
"""

from tracer.kernel.btf.errors import BtfError as BtfError
from tracer.kernel.btf.errors import BtfMissing as BtfMissing
from tracer.kernel.btf.format import MAGIC as MAGIC
from tracer.kernel.btf.format import MAGIC_SWAPPED as MAGIC_SWAPPED
from tracer.kernel.btf.format import POINTER_BYTES as POINTER_BYTES
from tracer.kernel.btf.prototype import Param as Param
from tracer.kernel.btf.prototype import Prototype as Prototype
from tracer.kernel.btf.reader import Btf as Btf
from tracer.kernel.btf.reader import module_btfs as module_btfs
from tracer.kernel.btf.reader import running_btf as running_btf
