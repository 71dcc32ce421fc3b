"""EXIF: what it says about a photograph, without what it says about the pixels of one file (EXIF 2.3)."""

from __future__ import annotations

from PIL import ExifTags, Image

# What EXIF data say about a photograph. The rest of a directory says how the file stores its pixels; writers that find
# it in EXIF data believe it, although the result is stored otherwise.
DESCRIPTIVE_TAGS = frozenset({
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.XResolution,
    ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Rating, ExifTags.Base.RatingPercent,
    ExifTags.Base.Copyright, ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject, ExifTags.Base.ExifOffset, ExifTags.Base.GPSInfo,
})  # fmt: skip

# Tags of the Exif directory (EXIF 2.3, section 4.6.5) that count pixels: they hold for one size and orientation.
WIDTH, HEIGHT = 0xA002, 0xA003  # PixelXDimension, PixelYDimension
POSITIONS = (0x9214, 0xA214)  # SubjectArea, SubjectLocation
DENSITIES = (0xA20E, 0xA20F)  # FocalPlaneXResolution, FocalPlaneYResolution


def descriptive_exif(exif: Image.Exif, turned: bool) -> bytes | None:
    """Return EXIF data without what describes pixels, orientation among it; None: nothing is left.

    Args:
        exif: as they stand in the file; they are changed.
        turned: the image is no longer stored as it was, because its orientation was applied.

    Raises:
        Exception: of any kind, where they are damaged.
    """
    for tag in set(exif) - DESCRIPTIVE_TAGS:
        del exif[tag]
    if turned:
        _leave_out(exif, POSITIONS)
    exif.bigtiff = False  # whatever the file is
    return exif.tobytes() if exif else None


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return EXIF data for an image of this size, in pixels.

    A width and a height that the data state become those. If they were others, what else is counted in pixels is left
    out: where the subject is, and the resolution of the focal plane.
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
