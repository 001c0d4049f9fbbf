"""Where usage comes from: one package for each kind of source, behind `UsageSource`."""

from kisi.sources.interface import Readings, Select, UsageSource

__all__ = ["Readings", "Select", "UsageSource"]
