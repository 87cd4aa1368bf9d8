"""Errors that the command line expects: ``tracer/cli/main.py`` prints the message alone."""


class UserError(Exception):
    """Something the user can put right: a wrong option, a missing file, no permission.

    ``exit_code`` is what the command ends with.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
