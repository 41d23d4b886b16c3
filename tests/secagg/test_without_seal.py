"""What works where TenSEAL is not installed, and what says so; the wheel's test has it for real."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.secagg.parties import Round, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5)}
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from privfed import secagg
from privfed.errors import ConfigError, LayoutError
folder = Path({folder!r})
def told(act):
    try:
        act()
    except ConfigError as error:
        assert not isinstance(error, LayoutError), error
        assert "is not installed: pip install 'privfed[aggregate]'" in str(error), error
        assert str(error).startswith({name!r}), error
    else:
        raise AssertionError("nothing was told")
"""
ABSENT = [(("tenseal", "zstandard"), "TenSEAL"), (("zstandard",), "zstandard")]


def run(folder: Path, absent: tuple[str, ...], name: str, code: str) -> None:
    before = WITHOUT.format(absent=absent, name=name, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("absent", "name"), ABSENT)
def test_a_party_is_told_what_to_install(
    tmp_path: Path, absent: tuple[str, ...], name: str
) -> None:
    (tmp_path / "params").write_bytes(parameters(2, SHAPES, scheme="packed").to_bytes())
    run(tmp_path, absent, name, """
from dataclasses import replace
ring = secagg.Keyring.create(folder / "ring", unlocked=True)
params = secagg.Parameters.from_bytes((folder / "params").read_bytes())
roster = (ring.identity.public, secagg.generate_identity().public)
params = replace(params, roster=roster)
ring.make(params)
told(secagg.Encryptor(params, ring.key(), ring.identity, "memory").prepare)
told(lambda: replace(params, scheme="auto"))
""")  # fmt: skip


def test_a_total_is_opened_once_tenseal_is_there(tmp_path: Path) -> None:
    """What a missing package stopped has used nothing up."""
    parties = Round.of(parameters(3, SHAPES))
    total = parties.total(parties.uploads(updates(3, SHAPES), [1, 2, 3]))
    (tmp_path / "params").write_bytes(parties.params.to_bytes())
    (tmp_path / "total").write_bytes(total)
    parties.key.save(tmp_path / "key", unlocked=True)
    from privfed import secagg

    for _ in range(4):  # as often as failures retire a key
        run(tmp_path, *ABSENT[0], """
params = secagg.Parameters.from_bytes((folder / "params").read_bytes())
key = secagg.SecretKey.load(folder / "key")
with secagg.Decryptor(params, key, folder / "state") as decryptor:
    told(lambda: decryptor.decrypt((folder / "total").read_bytes(), 1))
""")  # fmt: skip
    with secagg.Decryptor(parties.params, parties.key, tmp_path / "state") as decryptor:
        assert decryptor.decrypt(total, 1).total_weight == 6
