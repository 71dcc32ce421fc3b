"""The interface to BasicSR, which comments and messages of the plugin call the host.

``registration`` registers the plugin's classes and functions with the host and applies the workarounds. Each workaround
patches one defect of the host at run time, on machines that have it. The other modules define them, by topic:
``options``, ``datasets``, ``sampling``, ``prefetching``, ``signals``, ``loggers``, ``starting`` and ``no_gpu``.
"""

from hifacegan_plugin.host.registration import register

__all__ = ['register']
