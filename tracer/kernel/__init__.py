"""What the running kernel is: its types (BTF), its symbols, and what it lets a tracer do.

Everything here reads files under /proc, /sys and /boot, and nothing looks at a kernel version
number. Only `requirements.tries` has the kernel make something, by `bpf_syscall`.
"""
