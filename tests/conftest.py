"""For all tests: properties are judged by what holds, not by how fast a loaded machine shows it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("rsagent", deadline=None)
settings.load_profile("rsagent")
