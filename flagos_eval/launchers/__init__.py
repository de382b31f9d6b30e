"""Ways to get a server: one file each, with a ``LAUNCHER``. See ``base.py`` for what one does."""
