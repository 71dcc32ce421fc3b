"""The one error of videos, apart from the modules that need PyAV."""


class VideoError(ValueError):
    """A video that cannot be read, restored in all frames, or written; the message says why, and names no file."""
