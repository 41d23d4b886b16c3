"""What holds for all tests."""

import os
import signal

import pytest
from hypothesis import settings

from tests import extras
from tests.scale import count

__all__ = ["count"]

# On a busy machine a slow example says nothing; hypothesis's own profile for CI stays in force.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

# Tests share the cores already: threads that wait for each other only take them away.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Processes inherit an ignored Ctrl-C, as where a run is in the background: they would hear none.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(extras)  # also for folders whose own conftest cannot be imported
