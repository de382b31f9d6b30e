"""Does a model answer the same on your chip as on the reference?"""

__version__ = "0.1.0"
