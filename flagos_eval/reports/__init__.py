"""A comparison as text: one file a format, with ``SUFFIXES`` and ``render(comparison) -> str``."""
