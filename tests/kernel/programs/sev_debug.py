"""Asks for debug commands of SEV for a machine that is no guest of it."""

import ctypes
import fcntl
import os
import struct

libc = ctypes.CDLL(None)
vm = fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR), 0xAE01, 0)  # KVM_CREATE_VM
for command in (18, 19, 17, 18):  # DBG_DECRYPT, DBG_ENCRYPT, GUEST_STATUS
    what = ctypes.create_string_buffer(struct.pack("QQI", 0x10000, 0x20000, 4096), 24)
    where = ctypes.addressof(what)
    one = ctypes.create_string_buffer(struct.pack("IIQII", command, 0, where, 0, 0))
    assert libc.ioctl(vm, ctypes.c_ulong(0xC008AEBA), one) == -1  # KVM_MEMORY_ENCRYPT_OP
