"""EXIF metadata without the tags that describe the pixels of one file (EXIF 2.3)."""

from __future__ import annotations

from PIL import ExifTags, Image

# The tags to keep: they describe the photograph. The other tags describe how a file stores its pixels; encoders would
# copy them, although the result is stored differently.
DESCRIPTIVE_TAGS = frozenset({
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.XResolution,
    ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Rating, ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright, ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject, ExifTags.Base.ExifOffset, ExifTags.Base.GPSInfo,
})  # fmt: skip

# Tags of the Exif directory (EXIF 2.3, section 4.6.5) in units of pixels, valid for one size and orientation only.
WIDTH, HEIGHT = 0xA002, 0xA003  # PixelXDimension, PixelYDimension
POSITIONS = (0x9214, 0xA214)  # SubjectArea, SubjectLocation
DENSITIES = (0xA20E, 0xA20F)  # FocalPlaneXResolution, FocalPlaneYResolution


def descriptive_exif(exif: Image.Exif, turned: bool) -> bytes | None:
    """Return EXIF data without the tags that describe pixels, such as the orientation; None if nothing is left.

    Args:
        exif: the data in the file; changed in place.
        turned: whether the pixels were rotated or mirrored, because the orientation was applied.

    Raises:
        Exception: of any class, if the data is damaged.
    """
    for tag in set(exif) - DESCRIPTIVE_TAGS:
        del exif[tag]
    if turned:
        _leave_out(exif, POSITIONS)
    exif.bigtiff = False  # also if the file is a BigTIFF
    return exif.tobytes() if exif else None


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return EXIF data for an image of this size, in pixels.

    If the data states another width and height, they are replaced, and the other tags in units of pixels are removed:
    the position of the subject and the resolution of the focal plane.
    """
    exif = Image.Exif()
    exif.load(data)
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    stated = {tag: size for tag, size in ((WIDTH, width), (HEIGHT, height)) if tag in camera}
    if all(camera[tag] == size for tag, size in stated.items()):
        return data
    camera.update(stated)
    _leave_out(exif, POSITIONS + DENSITIES)
    return exif.tobytes()


def _leave_out(exif: Image.Exif, tags: tuple[int, ...]) -> None:
    camera = exif.get_ifd(ExifTags.IFD.Exif)
    for tag in tags:
        camera.pop(tag, None)
