"""The error that preparing data raises."""


class BuildError(Exception):
    """The requested output cannot be made or continued; the message says what to do."""
