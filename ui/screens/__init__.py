"""Screens of the terminal view."""
