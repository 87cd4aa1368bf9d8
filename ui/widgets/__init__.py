"""Widgets of the terminal view. They draw what a snapshot holds and ask nobody."""
