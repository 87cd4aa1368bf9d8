"""The command ``sealsnoop`` with all its verbs, and those verbs that open the terminal view."""
