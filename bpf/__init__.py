"""BPF C sources, carried as package data. This package holds no code, only its own location."""
