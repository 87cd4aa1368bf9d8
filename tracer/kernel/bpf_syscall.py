"""bpf(2) itself: loading programs, attaching them where no event is needed, running one at will.

Recording uses it, and so does doctor, which tries beforehand what recording will do.

libbcc takes a trampoline's target from the program's name, and its versions disagree about it:
0.26 wants ``kfunc__SYM``, 0.31 and newer ``kfunc__vmlinux__SYM`` and abort at the older form. It
also looks in vmlinux alone. So bcc only compiles; what it compiled is loaded here.
Numbers and places are those of include/uapi/linux/bpf.h.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

_SYS_BPF = 321
_MAP_CREATE, _PROG_LOAD, _PROG_TEST_RUN = 0, 5, 10
_OBJ_GET_INFO_BY_FD, _RAW_TRACEPOINT_OPEN = 15, 17
_BTF_GET_FD_BY_ID, _BTF_GET_NEXT_ID = 19, 23
KPROBE, RAW_TRACEPOINT, TRACING = 2, 17, 26
"""``enum bpf_prog_type``"""
_MAP_RINGBUF = 27
FENTRY, FEXIT = 24, 25
"""``enum bpf_attach_type``"""
_LOG_BYTES = 1 << 16
_NAME_BYTES = 15

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytearray) -> int:
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    result: int = _libc.syscall(_SYS_BPF, command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _btf_name(fd: int) -> bytes:
    name = ctypes.create_string_buffer(64)
    # struct bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
    info = bytearray(struct.pack("=QIIQII", 0, 0, 0, ctypes.addressof(name), len(name), 0))
    buffer = (ctypes.c_char * len(info)).from_buffer(info)
    _bpf(
        _OBJ_GET_INFO_BY_FD, bytearray(struct.pack("=IIQ", fd, len(info), ctypes.addressof(buffer)))
    )
    return name.value


def module_btf(module: str) -> int:
    """A descriptor of the loaded module's BTF object. FileNotFoundError: there is none.

    OSError: the kernel does not let us look (CAP_SYS_ADMIN).
    """
    last = 0
    while True:
        attributes = bytearray(struct.pack("=III", last, 0, 0))
        _bpf(_BTF_GET_NEXT_ID, attributes)  # FileNotFoundError behind the last one
        last = struct.unpack_from("=I", attributes, 4)[0]
        fd = _bpf(_BTF_GET_FD_BY_ID, bytearray(struct.pack("=III", last, 0, 0)))
        if _btf_name(fd) == module.encode():
            return fd
        os.close(fd)


def load(
    code: bytes,
    name: str,
    kind: int,
    *,
    attach_type: int = 0,
    function_id: int = 0,
    btf_fd: int = 0,
) -> int:
    """Loads ``code`` as a program of that kind; its descriptor.

    A `TRACING` program needs ``attach_type`` and the BTF id of its function, in the object
    ``btf_fd`` (0: vmlinux). OSError, whose text ends with the verifier's last line.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_BYTES)
    attributes = bytearray(144)
    for place, size, value in (
        (0, 4, kind),
        (4, 4, len(code) // 8),
        (8, 8, ctypes.addressof(instructions)),
        (16, 8, ctypes.addressof(licence)),
        (68, 4, attach_type),
        (108, 4, function_id),
        (112, 4, btf_fd),
    ):
        attributes[place : place + size] = value.to_bytes(size, "little")
    short = name.encode()[:_NAME_BYTES]
    attributes[48 : 48 + len(short)] = short
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError:
        # Again, for the reason: a log that is too small for all of it is no obstacle here.
        attributes[24:28] = (1).to_bytes(4, "little")
        attributes[28:32] = len(log).to_bytes(4, "little")
        attributes[32:40] = ctypes.addressof(log).to_bytes(8, "little")
        try:
            return _bpf(_PROG_LOAD, attributes)
        except OSError as error:
            lines = log.value.decode(errors="replace").strip().splitlines()
            reasons = [line for line in lines if not line.startswith("processed ")]
            text = f"{error.strerror}{': ' + reasons[-1] if reasons else ''}"
            raise OSError(error.errno, text) from None


def attach(program: int, tracepoint: str = "") -> int:
    """Attaches a trampoline's program, or one for a raw tracepoint (by name); the link.

    It lasts for as long as the descriptor is open. OSError.
    """
    name = ctypes.create_string_buffer(tracepoint.encode())
    where = ctypes.addressof(name) if tracepoint else 0
    return _bpf(_RAW_TRACEPOINT_OPEN, bytearray(struct.pack("=QiI", where, program, 0)))


def run_raw(program: int, arguments: Sequence[int]) -> None:
    """Runs a raw-tracepoint program once, here and now, with these arguments (5.10). OSError."""
    context = struct.pack(f"={len(arguments)}Q", *arguments)
    buffer = ctypes.create_string_buffer(context, len(context))
    attributes = bytearray(80)
    for place, size, value in (
        (0, 4, program & 0xFFFFFFFF),
        (40, 4, len(context)),
        (48, 8, ctypes.addressof(buffer)),
    ):
        attributes[place : place + size] = value.to_bytes(size, "little")
    _bpf(_PROG_TEST_RUN, attributes)


def make_ring(size: int) -> int:
    """A ring buffer of so many bytes; its descriptor. OSError."""
    return _bpf(_MAP_CREATE, bytearray(struct.pack("=IIIII", _MAP_RINGBUF, 0, 0, size, 0)))
