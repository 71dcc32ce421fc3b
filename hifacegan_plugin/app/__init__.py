"""The local web page of ``hifacegan app``: its layout, the jobs for uploads, and its server."""
