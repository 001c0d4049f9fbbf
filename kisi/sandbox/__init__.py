"""The simulated vendors: Kaspersky Security Center, ConnectWise Manage and Tigerpaw on loopback.

`Sandbox` serves them and writes a configuration that fits. With the extra `sandbox` its Security
Center has a certificate, as a real one; without it speaks plain HTTP.
"""

from __future__ import annotations

from kisi.sandbox.run import Sandbox

__all__ = ["Sandbox"]
