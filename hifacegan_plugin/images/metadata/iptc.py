"""IPTC metadata: captions, names and places (IPTC-NAA Information Interchange Model 4.2), in JPEG and TIFF files."""

from __future__ import annotations

import struct

from PIL import ImageFile, IptcImagePlugin

TIFF_TAG = 33723
RESOURCE = 0x0404  # the IPTC entry of Photoshop's image resources in a JPEG
APP13 = b'\xff\xed'
PHOTOSHOP = b'Photoshop 3.0\0'

MARKER = 0x1C
DESCRIPTIVE_RECORDS = (1, 2)  # envelope and application; other records describe pixels or hold a preview
PREVIEW = {(2, 200), (2, 201), (2, 202)}


def read_descriptive_iptc(header: ImageFile.ImageFile) -> bytes | None:
    """Return the IPTC data of a JPEG or TIFF without previews and pixel descriptions; None if nothing is left.

    Raises:
        Exception: of any class, if the data is damaged.
    """
    data_sets = []
    for (record, number), values in (IptcImagePlugin.getiptcinfo(header) or {}).items():
        if record in DESCRIPTIVE_RECORDS and (record, number) not in PREVIEW:
            contents = values if isinstance(values, list) else [values]
            data_sets += [_data_set(record, number, content) for content in contents]
    return b''.join(data_sets) or None


def _data_set(record: int, number: int, content: bytes) -> bytes:
    """Encode one data set (section 1.5)."""
    return struct.pack('>BBBH', MARKER, record, number, len(content)) + content


def jpeg_segment(iptc: bytes) -> bytes:
    """Return IPTC data as a JPEG segment, in the image resource that Photoshop uses."""
    padding = bytes(len(iptc) % 2)
    content = PHOTOSHOP + b'8BIM' + struct.pack('>HHI', RESOURCE, 0, len(iptc)) + iptc + padding
    return APP13 + struct.pack('>H', len(content) + 2) + content
