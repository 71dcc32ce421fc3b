"""The errors for images that cannot be used."""

SEVERAL_IMAGES = 'is animated or has several pages: split it into single images'


class ImageError(ValueError):
    """Data that cannot be used as an image; the message says why, such as "is animated", without the file name."""


class TooLargeError(ImageError):
    """An image has more pixels than allowed."""
