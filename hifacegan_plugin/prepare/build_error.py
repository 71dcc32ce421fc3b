"""The error of commands that prepare data."""


class BuildError(Exception):
    """The requested output cannot be made or continued; the message says what to do."""
