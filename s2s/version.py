"""The version of s2s; it is stored with every score."""

__version__ = "0.1.0"
