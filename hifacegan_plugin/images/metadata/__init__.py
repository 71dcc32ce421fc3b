"""What image files say beside the pixels: EXIF, IPTC, XMP, and the chunks of PNG files."""
