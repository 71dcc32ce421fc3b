"""An image and the metadata of its file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Photograph:
    """An image and the metadata of its file.

    Attributes:
        pixels: uint8 or uint16, ``(H, W)`` grey, ``(H, W, 2)`` grey and alpha, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA,
            upright.
        icc_profile: the ICC profile in the file; None: sRGB.
        exif: the descriptive EXIF data, encoded; the orientation is already applied.
        xmp: the descriptive XMP properties, as an XML packet.
        iptc: the descriptive IPTC data, encoded.
        dpi: horizontal and vertical resolution in pixels an inch; None: not known.
        colour_chunks: the colour chunks of a PNG: name to content.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: dict[bytes, bytes] = field(default_factory=dict)

    def in_same_colours(self, pixels: np.ndarray) -> Photograph:
        """Return other pixels with the profile and the colour tags of this photograph, without other metadata."""
        return Photograph(pixels, self.icc_profile, colour_chunks=self.colour_chunks)
