"""What holds for all tests."""

from hypothesis import settings

from tests.scale import count

__all__ = ["count"]

# On a busy machine a slow example says nothing; hypothesis's own profile for CI stays in force.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
