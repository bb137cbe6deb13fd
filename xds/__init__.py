"""An IHE XDS-I.b affinity domain: document registry, imaging repository and patient identity manager."""

__version__ = "0.1.0"
