"""Judging and summing up decisions: pure functions over columns. No bcc, no Textual, no root."""
