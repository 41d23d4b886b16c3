"""A lack is a reason to skip only where the whole extra is absent; else it is a failure."""

import pytest

from privfed.errors import ConfigError
from tests import extras

TOLD = ConfigError("TenSEAL is not installed: pip install 'privfed[aggregate]'")


@pytest.mark.parametrize(
    ("error", "extra"),
    [(ModuleNotFoundError(name="torch.nn"), "train"), (TOLD, "aggregate")],
)
def test_an_extra_that_is_absent_is_lacking(
    error: Exception, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extras.ABSENT, extra, list(extras.EXTRAS[extra]))
    assert extras.lacking(error) == extra


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError(name="torch.nn"),
        ModuleNotFoundError(name="psi.transport"),
        ImportError("cannot import name"),
        TOLD,
        ConfigError("give another path"),
        None,
    ],
)
def test_an_absence_in_a_complete_environment_is_a_failure(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for extra in extras.EXTRAS:
        monkeypatch.setitem(extras.ABSENT, extra, [])
    assert extras.lacking(error) is None
