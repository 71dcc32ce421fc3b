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
        icc_profile: of the colours, as it stands in the file; None: sRGB.
        exif: what EXIF data say about the photograph, as bytes; the orientation is already applied.
        xmp: what XMP says about the photograph, as an XML packet.
        iptc: what IPTC data say about the photograph, as bytes.
        dpi: pixels an inch, across and down; None: not known.
        colour_chunks: contents by name of the chunks of a PNG that say what its colours are.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    colour_chunks: dict[bytes, bytes] = field(default_factory=dict)

    def in_same_colours(self, pixels: np.ndarray) -> Photograph:
        """Return other pixels with the profile and the colour tags of this file, and nothing else that it says."""
        return Photograph(pixels, self.icc_profile, colour_chunks=self.colour_chunks)
