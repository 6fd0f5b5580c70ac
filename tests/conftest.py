"""Settings that all tests share."""

import os

from hypothesis import settings

# A slow machine is no failure. In CI the same examples run every time; at a desk new ones are tried.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
