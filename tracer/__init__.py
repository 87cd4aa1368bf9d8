"""Capture, storage, judgement and reporting of memory-file seal decisions."""

__version__ = "0.1.0"
