"""The border to BasicSR, which the comments and messages of the plugin call the host.

``registration`` registers the plugin's classes and functions with it, and applies the accommodations: each answers one
defect of the host, at run time and only where that defect bites. The other modules hold them, a module per concern:
``options``, ``datasets``, ``sampling``, ``prefetching``, ``signals``, ``loggers``, ``starting`` and ``no_gpu``.
"""

from hifacegan_plugin.host.registration import register

__all__ = ['register']
