"""The metadata of image files: EXIF, IPTC, XMP, and the chunks of PNG files."""
