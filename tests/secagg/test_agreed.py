"""What parties that mask together agree on besides: totals open, and masks cancel, where alike."""

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import AuthenticationError, ConfigError, ContextMismatchError
from privfed.secagg import aggregator, opening
from privfed.secagg.epochs import MaskKeys
from privfed.secagg.rounds import RoundID
from tests.secagg.parties import identities, parameters, updates
from tests.secagg.test_epochs import PARAMS, SHAPES, agreed

MODULUS = 2**39


def mask(keys: list[MaskKeys], said: list[bytes]) -> np.ndarray:
    """The sum of all parties' masks, each under what it was told."""
    of = RoundID.of(PARAMS, 1, None)
    words = [
        each.masks(of, alike).words(b"name", 20, MODULUS)
        for each, alike in zip(keys, said, strict=True)
    ]
    return np.asarray(np.sum(words, axis=0, dtype=np.uint64) % np.uint64(MODULUS))


def test_masks_cancel_between_those_who_agree() -> None:
    keys = agreed()
    assert not mask(keys, [b""] * 3).any()
    assert not mask(keys, [b"rate 1"] * 3).any()
    for said in ([b"rate 1", b"rate 0", b"rate 0"], [b"rate 1", b"", b""]):
        assert np.count_nonzero(mask(keys, said)) == 20
    assert len({each.named(said) for each in keys for said in (b"", b"a", b"b")}) == 3


def companies(**settings: object) -> list[secagg.Party]:
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1", **settings)
    key = secagg.generate_keys(params)
    found = [secagg.Party(params, key, each, "memory") for each in identities(3)]
    messages = [each.start_epoch() for each in found]
    for each in found:
        each.enter_epoch(messages)
    return found


def total_of(parties: list[secagg.Party], said: list[bytes]) -> bytes:
    server = secagg.Aggregator(parties[0].params, parties[0].round_id + 1)
    for party, arrays, alike in zip(parties, updates(3, SHAPES), said, strict=True):
        server.add(party.encrypt(arrays, agreed=alike))
    return server.total()


@pytest.mark.parametrize("settings", [{}, {"download": "summed", "cover_c0": True}])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_total_opens_where_all_agree(settings: dict[str, object], ahead: bool) -> None:
    plain, alike = companies(**settings), companies(**settings)
    if ahead:  # masks are made, of which nothing is agreed on yet
        for party in (*plain, *alike):
            party.announce()
    expected = plain[0].open(total_of(plain, [b""] * 3)).mean
    found = alike[0].open(total_of(alike, [b"rate 1"] * 3)).mean
    assert all(np.array_equal(each, expected[name]) for name, each in found.items())


def test_who_was_told_something_else_is_refused() -> None:
    parties = companies()
    with pytest.raises(ContextMismatchError, match="different settings for the round"):
        total_of(parties, [b"rate 1", b"rate 1", b"rate 0"])


@pytest.mark.parametrize("settings", [{}, {"download": "summed", "cover_c0": True}])
def test_a_total_over_parties_that_differ_is_refused_by_who_has_the_key(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not look; holders do, and count no failure."""
    parties = companies(**settings)
    with monkeypatch.context() as patched:
        patched.setattr(aggregator, "check_epochs", lambda *_: None)
        total = total_of(parties, [b"rate 1", b"rate 0", b"rate 0"])
    with pytest.raises(ContextMismatchError, match="different settings for the round"):
        parties[0].open(total)


def test_a_helper_that_does_not_look_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server and a party with the key, who need not respect what headers say."""
    parties = companies()
    for module in (aggregator, opening):
        monkeypatch.setattr(module, "check_epochs", lambda *_: None)
    total = total_of(parties, [b"rate 1", b"rate 0", b"rate 0"])
    with pytest.raises(AuthenticationError, match="does not decrypt"):
        parties[0].open(total)


def test_it_is_bytes() -> None:
    party = companies()[0]
    with pytest.raises(ConfigError, match="agreed is bytes"):
        party.encrypt(updates(3, SHAPES)[0], agreed="rate 1")  # type: ignore[arg-type]
    assert party.round_id == 0  # nothing is used up
