"""From recordings to judged decisions, and what they add up to. No bcc, no Textual, no root.

``decisions``  the one driver. What everybody reads recordings through:

    ``Decisions(variants=None, *, keep=None, observers=(), timeline=True)``: ``window(source,
    Window(since_ns, until_ns))``, ``objects(table, source, complete=)``, ``mappings(table,
    source)``, ``add(batch)``, ``judge(batch) -> Judged`` (by what is known now, not counted),
    ``tables() -> Tables`` (as of now). ``keep``: a predicate over ``Judged``, as
    ``Query.mask``; ``observers``: called with each ``Judged`` batch of those that count, once.
    ``read(recording, into, *, source=None, window=EVERYTHING, columns=(), step=None)`` gives all
    that there is of a recording to ``into``; ``summarize(recordings, *, keep=, columns=, windows=,
    step=) -> Tables`` does that for several.
    ``batches(recording, columns=None, ops=None, *, source=None, where=None)``: events in batches;
    ``batch_of(table, names, source, comms, row)``: one Arrow table as a batch.
    ``Judged``: a mapping from column names to arrays and ``Coded``; ``frame()`` is a DataFrame.
``batches``    ``Batch``, ``Source`` (of a recording: host, boot, variants), ``Vocabulary``.
``tables``     pure functions, DataFrame to DataFrame: ``judge(events, objects, variants)``,
    ``decisions(...)``, ``tables(decisions, objects=None) -> Tables``, ``by_object(decisions)`` ...
``totals``     ``Tables``: ``by_object``, ``by_fd``, ``by_process``, ``by_op``, ``by_rule``,
    ``listed``, ``over_time(step_ns=None)``, ``seals``, ``late_seals``, ``busy``, ``losses``,
    ``recordings``;
    ``columns("objects" | "fds" | "processes")``: the same rows as plain columns.
``sums``       ``Sums``: small tables that grow batch by batch; ``merge(words, *sums)``: any cut,
    any order, the same result.
``grouping``   ``Table``: rows with the same key, added up in place; ``Places`` of keys.
``objects``    memory files: announcements, and which two are one. ``mappings``: which exist, and
    their lives. ``timeline``: seals in time, and who held mappings (``holders(recordings,
    tables)``).
``judge``      ``Judge(variants).codes(columns)``; ``features``: what a verdict depends on, as keys.
``api``        ``load(*paths, keep=None) -> Analysis``: recordings in two lines.
"""
