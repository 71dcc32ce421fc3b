"""The one error of engines and devices."""


class EngineError(ValueError):
    """An engine or device that is not there or cannot do what it is asked to; the message names the fix."""
