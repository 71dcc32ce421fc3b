"""The one error of what prepares data."""


class BuildError(Exception):
    """What was asked for cannot be made, or not be continued; the message says what to do."""
