"""Tries the seal rules on scratch files: this kernel's variants, and whether our hooks report."""
