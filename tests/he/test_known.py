"""SEAL's key and c1 of a seed are the same everywhere, or nothing is encrypted."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from privfed import secagg
from privfed.errors import LayoutError
from privfed.he.seal import batches, files, is_known, known, zeros
from privfed.keys import SecretKey
from tests.he.known_answers import RINGS, c1_digest, key_digest
from tests.secagg.parties import identities, parameters

WRONG = "0" * 64
CACHED = (zeros.key_test, zeros.self_test)


@pytest.fixture(autouse=True)
def tested_anew() -> Iterator[None]:
    for each in CACHED:
        each.cache_clear()
    yield
    for each in CACHED:
        each.cache_clear()


def made(schemes: str) -> dict[str, Callable[[], object]]:
    """What loads SEAL and says whether it may be used."""
    every: dict[str, Callable[[], object]] = {
        "packed": lambda: zeros.cached_key(SecretKey.generate(bytes(32))),
        "slots": lambda: batches.SlotBatches(30),
        "ckks": batches.CKKSBatches,
        "auto": lambda: parameters(3, scheme="auto"),
    }
    return {name: every[name] for name in schemes.split()}


def plant(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Let other answers be expected, which is how another SEAL looks from here."""
    for room, name in ((zeros, "RING"), (batches, "RING"), (batches, "CKKS")):
        monkeypatch.setattr(room, name, replace(getattr(room, name), **changes))


@pytest.mark.parametrize(("degree", "primes", "fresh", "answers"), RINGS)
def test_the_answers_are_those_of_the_definition(
    degree: int, primes: tuple[int, ...], fresh: int, answers: known.KnownAnswers
) -> None:
    """Computed without SEAL, from its generator's and its draws' definition."""
    assert answers.key == key_digest(degree, primes)
    assert answers.c1 == c1_digest(degree, primes[:fresh])


def test_every_scheme_of_the_installed_seal_gives_them() -> None:
    for make in made("packed slots ckks auto").values():
        make()
    assert is_known()


def test_another_key_is_refused_by_every_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by "auto", which does not fall back on slots: their key is drawn in the same way."""
    plant(monkeypatch, key=WRONG)
    for make in made("packed slots ckks auto").values():
        with pytest.raises(LayoutError, match=r"another key\): install tenseal==0\.3\.18$"):
            make()


def test_a_seal_that_draws_in_another_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same from the other side: right answers, and a draw of another seed's key."""
    drawn = files.seeded_key
    monkeypatch.setattr(known, "seeded_key", lambda ring, seed: drawn(ring, seed[::-1]))
    for make in made("packed slots ckks auto").values():
        with pytest.raises(LayoutError, match="a seed draws another key"):
            make()


def test_another_c1_is_refused_by_every_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, c1=WRONG)
    for make in made("packed slots ckks").values():
        with pytest.raises(LayoutError, match=r"another c1\): install tenseal==0\.3\.18"):
            make()
    assert not is_known()


def test_an_update_is_not_encrypted_under_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, key=WRONG)
    params = parameters(3)
    encryptor = secagg.Encryptor(params, secagg.generate_keys(params), identities(3)[0], "memory")
    with pytest.raises(LayoutError, match=r"install tenseal==0\.3\.18$"):
        encryptor.prepare()


def test_a_header_that_is_not_known_is_refused_by_every_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of SEAL's can be read then, and slots are no way out."""
    monkeypatch.setattr(files, "_MAGIC", 0xA15F)
    for make in made("packed slots ckks auto").values():
        with pytest.raises(LayoutError, match=r"header.*install tenseal==0\.3\.18$"):
            make()
