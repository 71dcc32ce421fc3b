"""The interface to BasicSR, which comments and messages of the plugin call the host.

``registration`` registers the plugin's classes and functions with the host and applies the workarounds. Each
workaround works around one defect of the host, at run time and only where the defect matters. The other modules hold
the workarounds, one module per concern: ``options``, ``datasets``, ``sampling``, ``prefetching``, ``signals``,
``loggers``, ``starting`` and ``no_gpu``.
"""

from hifacegan_plugin.host.registration import register

__all__ = ['register']
