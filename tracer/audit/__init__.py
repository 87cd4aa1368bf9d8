"""Audits: claims about memory files, held against what a recording shows and cannot show."""
