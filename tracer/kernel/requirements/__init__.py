"""What this host allows a tracer to do, as data: one `Finding` for each thing that is needed.

All is read from files under one root, so a test can hand in a made-up /proc and /sys. Only
`methods.trampoline`, `kprobe` and `ring` ask the kernel itself.
"""
