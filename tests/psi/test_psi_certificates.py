"""Keys and certificates: what keygen writes, and what is not accepted as one."""

import stat
from pathlib import Path

import pytest

from psi import ConfigError
from psi.certificates import Identity, create_identity, fingerprint, load_certificate


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    create_identity(tmp_path / "alice")
    return tmp_path / "alice"


def test_a_new_identity_is_read_back_and_kept_private(prefix: Path) -> None:
    identity = Identity.load(prefix)
    assert identity.certificate == load_certificate(prefix.with_name("alice.crt"))
    assert stat.S_IMODE(prefix.with_name("alice.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(identity)
    assert len(fingerprint(identity.certificate)) == 32 * 3 - 1


def test_nothing_is_overwritten(prefix: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        create_identity(prefix)


def test_a_key_that_others_may_read(prefix: Path) -> None:
    prefix.with_name("alice.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Identity.load(prefix)


def test_the_key_of_another(prefix: Path) -> None:
    create_identity(prefix.with_name("bob"))
    prefix.with_name("bob.crt").replace(prefix.with_name("alice.crt"))
    with pytest.raises(ConfigError, match="not the key"):
        Identity.load(prefix)


@pytest.mark.parametrize("name", ["alice.key", "alice.crt"])
def test_files_that_hold_something_else(prefix: Path, name: str) -> None:
    prefix.with_name(name).write_text("something else")
    with pytest.raises(ConfigError, match="holds no"):
        Identity.load(prefix)


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Identity.load(tmp_path / "nobody")


def test_out_of_date(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psi.certificates as module

    now = module.datetime.datetime.now(module.datetime.UTC)
    later = now + module.datetime.timedelta(days=366)

    class Later(module.datetime.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Later":
            return later  # type: ignore[return-value]

    monkeypatch.setattr(module.datetime, "datetime", Later)
    with pytest.raises(ConfigError, match="out of date"):
        load_certificate(prefix.with_name("alice.crt"))


def test_a_validity_of_no_days(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one day"):
        create_identity(tmp_path / "alice", days=0)
