"""The ftrace source: kprobe events in tracefs give the same records where BPF is off."""
