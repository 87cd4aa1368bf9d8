"""User stacks while a recording runs: where code lies, who called, and what of it is stored."""
