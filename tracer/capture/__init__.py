"""Live capture: the only package that talks to BPF, and to the host that is traced."""
