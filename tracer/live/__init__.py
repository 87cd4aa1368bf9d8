"""Readers: they follow or replay a recording in a thread and publish snapshots."""
