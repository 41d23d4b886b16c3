"""How often a test repeats what it repeats: little in `make test`, as stated in `make deep`.

A test says both numbers in its marker and takes the one that holds from the fixture `count`:

    @pytest.mark.deep(normal=2_000, stated=100_000)
    def test_mutations(count: int) -> None: ...

`make deep` runs the tests that bear the marker, with PRIVFED_DEEP=1.
"""

import os

import pytest

__all__ = ["MOST", "chosen", "count"]

MOST = 2_000  # of a kind, in `make test`


def chosen(*, normal: int, stated: int) -> int:
    """The number that holds for this run."""
    if not 0 < normal <= min(MOST, stated):
        raise ValueError(f"normal={normal} is not from 1 to {min(MOST, stated)}")
    return stated if os.environ.get("PRIVFED_DEEP") == "1" else normal


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How often this test repeats what it repeats."""
    marker = request.node.get_closest_marker("deep")
    assert marker is not None, "a test that takes `count` bears the marker `deep`"
    return chosen(*marker.args, **marker.kwargs)
