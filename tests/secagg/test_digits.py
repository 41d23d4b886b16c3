"""What a key holder sees beside the sum: a tag's digits, each summed over the parties.

Those are no function of the sum of the tags: their carries tell of single ones. So under masks each
party's tag is one of a uniform choice that adds up, which is what the proof of the noise shares
needs (docs/privacy.md: what is decrypted is a function of the sum).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from privfed.secagg.parts import Parts, _name
from tests.secagg.parties import Round, parameters

SIZE = 60


def round_of_three(monkeypatch: pytest.MonkeyPatch, seed: int) -> tuple[Round, Any, Any]:
    """One masked round; what each party sent, and all that decrypting it gives."""
    params = parameters(3, {"sum": (SIZE,)}, max_weight=None, adversary="lying-server+1", bits=12)
    there = Round.of(params)
    sent = np.random.default_rng(seed).integers(-600, 601, (3, SIZE))
    uploads = [
        party.encrypt_integers({"sum": each}, round_id=1)
        for party, each in zip(there.encryptors, sent, strict=True)
    ]
    seen: list[np.ndarray] = []
    opened = Parts.untagged

    def watched(self: Parts, key: Any, round_id: int, part: Any, senders: Any, sums: Any) -> Any:
        seen.append(sums.copy())
        return opened(self, key, round_id, part, senders, sums)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "untagged", watched)
        result = there.decryptor.decrypt_sums(there.total(uploads), 1)
    assert np.array_equal(result.sums["sum"], sent.sum(axis=0))
    return there, sent, seen[0][SIZE:]


def guessed(there: Round, first: np.ndarray, rest: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The digits' sums if party 0 sent `first` and parties 0 and 1 together `rest`."""
    parts = Parts(there.params)
    tags = parts._tags  # noqa: SLF001  (what a key holder can compute)
    secrets = tags.secrets(there.key, _name(1, parts.all[0]), len(own), range(3))
    digits = [
        tags.integers(secrets, place, values)
        for place, values in enumerate((first, rest - first, own))
    ]
    return np.asarray(np.sum(digits, axis=0))


def test_a_key_holder_cannot_test_guesses_of_one_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """Party 2 knows key, sum and its own; it guesses party 0's, right and wrong.

    24 digits: without masks the right guess fits all of them; with them it fits no more often than
    a wrong one, which for one carry in each of the tags' places is about half.
    """
    right, wrong = [], []
    for seed in range(20):
        there, sent, digits = round_of_three(monkeypatch, seed)
        rest = sent[0] + sent[1]
        other = np.random.default_rng(100 + seed).integers(-600, 601, SIZE)
        right.append(np.mean(guessed(there, sent[0], rest, sent[2]) == digits))
        wrong.append(np.mean(guessed(there, other, rest, sent[2]) == digits))
    assert max(right) < 1
    # Means of 480 digits, six of their deviations apart at most.
    assert abs(np.mean(right) - np.mean(wrong)) < 6 * np.sqrt(0.5 / 480)
