"""Engines run a network on a device within its memory. Other packages use :class:`fitting.FittingEngine`."""
