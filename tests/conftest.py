"""For all tests: hypothesis judges what a test does, and not how long it takes on a busy machine."""

from hypothesis import settings

settings.register_profile("kisi", deadline=None)
settings.load_profile("kisi")
