"""The recording on disk: written by one process, read by any number while it grows and after.

``writer.RecordingWriter`` writes, ``reader.Recording`` reads, ``verify.verify`` checks. No bcc, no
Textual, no root. This module imports nothing, so that the command line starts fast.

A recording is a folder ``NAME.seal/``::

    manifest.json           what was recorded, by what, on what
    chain.jsonl             digests: of the manifest, of each segment's files, of end.json
    events/000000.parquet   a segment's tables, each only where the segment has rows
    objects/ names/ mappings/ losses/ clocks/ totals/
    tail/000001.records     raw records that are in no segment yet
    end.json                only after a stop that the recorder knew about
    lock                    held (flock) by the recorder as long as it lives
"""
