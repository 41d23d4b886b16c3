"""SEAL's layout, its noise, and what happens where they are not the known ones."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ConfigError, LayoutError, PrivacyWarning
from privfed.he import packing, rlwe
from privfed.he.seal import files, is_known, zeros
from privfed.keys import SecretKey


@pytest.fixture
def key() -> Any:
    return zeros.cached_key(SecretKey.generate(bytes(32)))


def signed(words: np.ndarray) -> np.ndarray:
    return np.where(words > packing.MODULUS // 2, words - np.uint64(packing.MODULUS), words).view(
        np.int64
    )


def test_the_installed_seal_is_the_known_one() -> None:
    assert is_known()


def test_noise_of_zeros_is_within_the_bound_and_not_trivial(key: Any) -> None:
    words, seeds = zeros.encrypt_zeros(key, 20)
    columns = [[seeds[start : start + 64]] for start in range(0, len(seeds), 64)]
    noise = signed(rlwe.reduce(words + zeros.products(key, columns)))
    # SEAL's centred binomial of 42 coins, read off to within 4: variance 10.5 and a little.
    assert np.abs(noise).max() <= packing.FRESH_NOISE + 4
    assert 9 < noise.var() < 14
    assert abs(noise.mean()) < 1  # reading floors


def test_threads_that_save_at_once_get_their_own_bytes(key: Any) -> None:
    """Whoever shares a decompressor gets wrong words, and no error, in most of such runs."""
    whole = files.saved(key)

    def saves(number: int) -> bool:
        return all(files.saved(key) == whole for _ in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(saves, range(8)))


def test_zeros_never_repeat(key: Any) -> None:
    first, second = zeros.encrypt_zeros(key, 2), zeros.encrypt_zeros(key, 2)
    assert first[1] != second[1]
    assert len({first[1][:64], first[1][64:], second[1][:64], second[1][64:]}) == 4
    assert not np.array_equal(first[0][:4096], first[0][4096:])


def test_a_packed_upload_is_a_ciphertext_that_seal_decrypts(key: Any) -> None:
    """SEAL's own decryptor, at the true plain modulus, reads what numpy added to a zero."""
    plain_bits = 39
    messages = np.random.default_rng(1).integers(0, 2**plain_bits, 4096, np.uint64)
    words, seed = zeros.encrypt_zeros(key, 1)
    c0 = rlwe.reduce_once(words + rlwe.scale_up(messages, plain_bits))
    c1 = zeros.second_half(zeros.expand_sum([seed]))
    seal = files.seal()
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(4096)
    parameters.set_coeff_modulus([seal.Modulus(packing.MODULUS)])
    parameters.set_plain_modulus(2**plain_bits)
    context = files.context_of(parameters)
    evaluator, ciphertext = seal.Evaluator(context), seal.Ciphertext()
    # The key's own context differs in plain modulus only, so its id in the bytes does.
    own = files.read(seal.Encryptor(context, _moved(key, context)).encrypt_zero_symmetric().save)
    files.write(own, lambda path: ciphertext.load(context, path))
    body = bytearray(files.saved(ciphertext))
    body[-2 * 32768 :] = c0.astype("<u8").tobytes() + c1.astype("<u8").tobytes()
    files.write(files.framed(bytes(body)), lambda path: ciphertext.load(context, path))
    evaluator.add_inplace(ciphertext, ciphertext)
    plaintext = seal.Plaintext()
    seal.Decryptor(context, _moved(key, context)).decrypt(ciphertext, plaintext)
    read = [plaintext.data(place) for place in range(plaintext.coeff_count())]
    expected = (2 * messages) % np.uint64(2**plain_bits)
    assert read == expected[: len(read)].tolist()


def _moved(key: Any, context: Any) -> Any:
    """The same ternary key for a context of another plain modulus."""
    seal = files.seal()
    other, body = seal.SecretKey(), files.saved(key)
    fresh = seal.KeyGenerator(context).secret_key()
    head = files.saved(fresh)[:32]  # the id of the parameters leads
    files.write(files.framed(head + body[32:]), lambda path: other.load(context, path))
    return other


@pytest.mark.parametrize(
    "broken",
    [
        lambda monkeypatch: monkeypatch.setattr(zeros, "_METADATA_BYTES", 65),
        lambda monkeypatch: monkeypatch.setattr(zeros, "FRESH_NOISE", 1),
        lambda monkeypatch: monkeypatch.setattr(zeros, "_expanded", lambda seed: 1 / 0),
    ],
    ids=["metadata", "noise", "crash"],
)
def test_another_layout_is_noticed_and_slots_take_over(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    broken(monkeypatch)
    for cached in (zeros.self_test, zeros._metadata):  # noqa: SLF001  (another layout, planted)
        cached.cache_clear()
    try:
        assert not is_known()
        with pytest.raises(LayoutError) as caught:
            zeros.cached_key(SecretKey.generate(bytes(32)))
        assert isinstance(caught.value, ConfigError)
        parties = tuple(secagg.generate_identity().public for _ in range(2))
        settings: dict[str, Any] = {
            "job": "test",
            "layout": secagg.Layout((("w", (3,)),)),
            "clip_range": 1.0,
            "bits": 16,
            "max_clients": 2,
            "max_weight": None,
            "roster": parties,
        }
        with pytest.warns(PrivacyWarning, match=r"install tenseal==0\.3\.18") as warned:
            params = secagg.Parameters(**settings)
        assert warned[0].filename == __file__
        assert params.scheme == "slots"
    finally:
        monkeypatch.undo()
        for cached in (zeros.self_test, zeros._metadata):  # noqa: SLF001  (another layout, planted)
            cached.cache_clear()
    assert is_known()
