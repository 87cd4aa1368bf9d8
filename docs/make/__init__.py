"""Documents made from the code's own descriptions: ``python -m docs.make`` writes them all.

``tests/unit/test_docs.py`` fails when a committed file is not what comes out here.
"""
