"""The one filter language of every verb and of the terminal view.

``query.parse('op:mmap verdict:blocked,breach size:>1M')`` gives a ``Query``; its ``mask`` takes the
rows of a DataFrame, of an Arrow table or of a mapping of columns. ``query.KEYS`` is the table
of keys.
"""
