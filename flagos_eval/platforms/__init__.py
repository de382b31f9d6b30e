"""What kind of machine this is: one file each, with a ``PLATFORM``. See ``base.py`` for what one
says."""
