"""The local web page of ``hifacegan app``: what it shows, what it does with uploads, and its server."""
