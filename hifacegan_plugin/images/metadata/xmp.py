"""XMP metadata without the properties that describe the pixels of one file (ISO 16684-1).

An XMP packet is RDF in XML: properties are attributes or child elements of ``rdf:Description``.
"""

from __future__ import annotations

from xml.dom import minidom
from xml.parsers.expat import ExpatError

RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'
TIFF = 'http://ns.adobe.com/tiff/1.0/'

# In these namespaces, all properties except the listed ones describe how a file stores its pixels.
DESCRIPTIVE = {TIFF: {'Make', 'Model', 'Artist', 'Copyright', 'ImageDescription', 'Software', 'DateTime'}}
# In these namespaces, the listed properties refer to the pixels of the file: sizes, positions, thumbnails, layers. EXIF
# holds the same sizes and positions, and is corrected.
OF_PIXELS = {
    'http://ns.adobe.com/exif/1.0/': {
        'PixelXDimension', 'PixelYDimension', 'ComponentsConfiguration', 'CompressedBitsPerPixel', 'SubjectArea',
        'SubjectLocation', 'FocalPlaneXResolution', 'FocalPlaneYResolution', 'FocalPlaneResolutionUnit',
    },
    'http://ns.adobe.com/xap/1.0/': {'Thumbnails'},
    'http://ns.adobe.com/photoshop/1.0/': {'ColorMode', 'ICCProfile', 'TextLayers', 'DocumentAncestors'},
}  # fmt: skip
# Namespaces that describe other images in the file (gain maps, motion photos, depth), a second packet, or the settings
# of a raw converter, which would apply them again.
OF_OTHERS = (
    'http://ns.adobe.com/hdr-gain-map/',
    'http://ns.apple.com/HDRGainMap/',
    'http://ns.apple.com/pixeldatainfo/',
    'http://ns.google.com/photos/',
    'http://ns.adobe.com/xmp/note/',
    'http://ns.adobe.com/camera-raw-settings/',
)
# Rectangles in pixels of the image as stored.
REGIONS = (
    'http://www.metadataworkinggroup.com/schemas/regions/',
    'http://ns.microsoft.com/photo/1.2/',
    'http://iptc.org/std/Iptc4xmpExt/2008-02-29/ImageRegion',
)


def descriptive_xmp(packet: bytes, turned: bool) -> bytes | None:
    """Return an XMP packet without the properties that describe pixels.

    Args:
        packet: the packet in the file.
        turned: whether the pixels were rotated or mirrored, because the orientation was applied.

    Returns:
        The packet; None if nothing is left.

    Raises:
        ValueError: the packet is not XML, or declares entities.
    """
    if b'<!DOCTYPE' in packet or b'<!ENTITY' in packet:  # entities can expand without limit
        raise ValueError('declares entities')
    try:
        document = minidom.parseString(packet.strip(b'\0 \r\n\t'))
    except (ExpatError, LookupError) as error:
        raise ValueError(str(error)) from error
    left = False
    for description in document.getElementsByTagNameNS(RDF, 'Description'):
        properties = [*description.attributes.values(), *description.childNodes]
        for node in properties:
            if node.nodeType == node.TEXT_NODE or node.namespaceURI in (None, RDF, 'http://www.w3.org/2000/xmlns/'):
                continue
            if not _is_of_pixels(node.namespaceURI, node.localName, turned):
                left = True
            elif isinstance(node, minidom.Attr):
                description.removeAttributeNode(node)
            else:
                description.removeChild(node)
    return ''.join(node.toxml() for node in document.childNodes).encode() if left else None


def _is_of_pixels(namespace: str, name: str, turned: bool) -> bool:
    if namespace in DESCRIPTIVE:
        return name not in DESCRIPTIVE[namespace]
    return (
        name in OF_PIXELS.get(namespace, ())
        or namespace.startswith(OF_OTHERS)
        or (turned and (namespace + name).startswith(REGIONS))
    )
