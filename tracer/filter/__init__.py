"""The one filter language of every verb and of the terminal view.

``parse('op:mmap verdict:blocked,breach size:>1M')`` gives a :class:`Query`; its ``mask`` takes the
rows of a DataFrame, of an Arrow table or of a mapping of columns. ``tracer/filter/keys.py`` is the
table of what can be asked for. Parsing needs neither numpy nor pandas.
"""

from tracer.filter.grammar import QueryError as QueryError
from tracer.filter.query import Query as Query
from tracer.filter.query import parse as parse
