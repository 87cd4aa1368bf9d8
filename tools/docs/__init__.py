"""Documents made from the code's own descriptions: ``python -m tools.docs`` writes them all.

``tests/unit/test_docs.py`` fails when a committed file is not what comes out here.
"""
