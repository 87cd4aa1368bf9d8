"""User stacks of a recording: from numbers to frames, and from frames to names.

``recorded`` turns the tables callers, stacks and modules into frames and needs nothing else.
``files`` finds the files that frames are of, ``names`` looks functions and lines up in them, by a
process without privileges (``lookup``, with drgn): who was traced chose what is in those files.
``shown`` is how stacks read.
"""
