"""`kisi map`: what is billed to whom (mapping.toml)."""

from kisi.cli.map.app import map_app

__all__ = ["map_app"]
