"""The documents; ``docs.make`` makes those of them that the code can tell."""
