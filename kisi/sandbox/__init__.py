"""The simulated vendors: Kaspersky Security Center, ConnectWise Manage and Tigerpaw on loopback.

`Sandbox` serves them and writes a configuration that fits. It needs the extra `sandbox`.
"""

from __future__ import annotations

from kisi.sandbox.run import Sandbox

__all__ = ["Sandbox"]
