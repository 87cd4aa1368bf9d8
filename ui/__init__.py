"""The live view. It reads recordings through `tracer` and never touches the kernel."""
