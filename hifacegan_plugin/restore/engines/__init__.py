"""Engines: what runs a network on a device, within its memory. :class:`fitting.FittingEngine` is what others use."""
