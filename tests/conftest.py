"""Settings of the property tests."""

from __future__ import annotations

import os

from hypothesis import settings

# How long an example takes says nothing on a shared machine, and a build must not depend on luck:
# there the examples are the same every time, while developers search on.
settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("default")
