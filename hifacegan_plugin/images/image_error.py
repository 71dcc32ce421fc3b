"""The errors of images that cannot be taken."""

SEVERAL_IMAGES = 'is animated or has several pages: split it into single images'


class ImageError(ValueError):
    """Bytes that cannot be taken as an image; the message says why, as in "is animated", and names no file."""


class TooLargeError(ImageError):
    """An image of more pixels than allowed."""
