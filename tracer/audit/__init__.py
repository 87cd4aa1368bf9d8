"""Audits: claims about memory files, compared with what a recording shows and cannot show."""
