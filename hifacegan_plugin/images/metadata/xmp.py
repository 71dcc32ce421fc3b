"""XMP: what it says about a photograph, without what it says about the pixels of one file (ISO 16684-1).

An XMP packet is RDF in XML: properties are attributes or child elements of ``rdf:Description``.
"""

from __future__ import annotations

from xml.dom import minidom
from xml.parsers.expat import ExpatError

RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'
TIFF = 'http://ns.adobe.com/tiff/1.0/'

# In these namespaces, everything but the listed properties describes how a file stores its pixels.
DESCRIPTIVE = {TIFF: {'Make', 'Model', 'Artist', 'Copyright', 'ImageDescription', 'Software', 'DateTime'}}
# In these namespaces, the listed properties describe or count pixels, show them or lead to them: sizes, places,
# thumbnails, layers. EXIF data hold the same sizes and places, and are corrected.
OF_PIXELS = {
    'http://ns.adobe.com/exif/1.0/': {
        'PixelXDimension', 'PixelYDimension', 'ComponentsConfiguration', 'CompressedBitsPerPixel', 'SubjectArea',
        'SubjectLocation', 'FocalPlaneXResolution', 'FocalPlaneYResolution', 'FocalPlaneResolutionUnit',
    },
    'http://ns.adobe.com/xap/1.0/': {'Thumbnails'},
    'http://ns.adobe.com/photoshop/1.0/': {'ColorMode', 'ICCProfile', 'TextLayers', 'DocumentAncestors'},
}  # fmt: skip
# Namespaces that are about other images in the file (gain maps, motion photos, depth), a second packet, and changes to
# a raw image that a raw converter would make again.
OF_OTHERS = (
    'http://ns.adobe.com/hdr-gain-map/',
    'http://ns.apple.com/HDRGainMap/',
    'http://ns.apple.com/pixeldatainfo/',
    'http://ns.google.com/photos/',
    'http://ns.adobe.com/xmp/note/',
    'http://ns.adobe.com/camera-raw-settings/',
)
# Rectangles, of an image as it was stored.
REGIONS = (
    'http://www.metadataworkinggroup.com/schemas/regions/',
    'http://ns.microsoft.com/photo/1.2/',
    'http://iptc.org/std/Iptc4xmpExt/2008-02-29/ImageRegion',
)


def descriptive_xmp(packet: bytes, turned: bool) -> bytes | None:
    """Return an XMP packet without what describes pixels.

    Args:
        packet: as it stands in the file.
        turned: the image is no longer stored as it was, because its orientation was applied.

    Returns:
        None: nothing is left.

    Raises:
        ValueError: it is no XML, or declares entities.
    """
    if b'<!DOCTYPE' in packet or b'<!ENTITY' in packet:  # entities can grow without end
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
