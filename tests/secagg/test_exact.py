"""The packed scheme is exact at the extremes of the range and of its error bound.

A random sweep never meets the worst case, so the first half builds it: low bits where each cut
errs the most, and noise at its bound, all in one direction. The second half runs everything for
real over many settings, flat and in a tree.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from privfed import secagg
from privfed.errors import CapacityError
from privfed.he import planes
from privfed.he.packing import FRESH_NOISE, MODULUS, MODULUS_BITS, Packing, choose, pack
from privfed.keys import SecretKey
from privfed.secagg.schemes import Packed
from tests.secagg.parties import Round, against, expected_mean, parameters

KEY = SecretKey.generate(bytes(32))
READING_ERROR = 4  # of the key product, see privfed.he.seal.zeros.KeyMultiplier
SETTINGS = [
    (bits, clients)
    for bits in (6, 8, 12, 16, 20, 24, 32)
    for clients in (2, 3, 7, 10, 15, 31, 64, 100, 127, 1000)
]


def half(cut: int) -> int:
    return 2 ** (cut - 1) if cut else 0


def open_worst(chosen: Packing, sign: int, excess: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Open a total in which every error of M honest clients is at its bound, plus `excess`.

    Returns (the sums that were sent, what the decryptor reads).
    """
    scheme, clients = Packed(chosen, "seeds"), chosen.max_clients
    top = chosen.limit * clients
    values = np.resize(np.array([top, -top, 0, -top, top, 1, -1]), 40 * chosen.lanes)
    messages = pack(values, chosen)
    noise = clients * (FRESH_NOISE + 1 + half(chosen.upload_cut)) + READING_ERROR + excess
    # The server's sum of c0 lies where the last cut errs the most in the same direction.
    rng = np.random.default_rng(0)
    low = half(chosen.download_cut) - (1 if sign < 0 and chosen.download_cut else 0)
    sums = rng.integers(0, MODULUS >> chosen.download_cut, len(messages), np.uint64)
    sums = (sums << np.uint64(chosen.download_cut)) + np.uint64(low)
    # q*m/t to the nearest integer, in Python's integers.
    exact = [
        (2 * MODULUS * int(m) + 2**chosen.plain_bits) >> (chosen.plain_bits + 1) for m in messages
    ]
    keystream = np.array(
        [(e + sign * noise - int(s)) % MODULUS for e, s in zip(exact, sums, strict=True)],
        np.uint64,
    )
    accumulator = scheme.accumulator(len(values))
    accumulator.plus(scheme.partial(memoryview(planes.encode(sums, MODULUS_BITS)), len(values)))
    total = memoryview(accumulator.total([]))
    opener = scheme.opener(KEY)
    authentic = opener.authentic(None, [(b"", b"")] * clients, total, len(values))
    assert authentic
    return values, opener.open(authentic, keystream)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("bits", "clients"), SETTINGS)
def test_the_extremes_of_the_error_bound_decrypt_exactly(
    bits: int, clients: int, sign: int
) -> None:
    sent, read = open_worst(choose(bits, clients), sign)
    assert read is not None
    assert np.array_equal(read, sent)


def test_every_precision_and_number_of_clients_has_a_packing() -> None:
    for bits in range(6, 33):
        for clients in [*range(2, 40), 63, 64, 65, 100, 128, 255, 256, 500, 512, 999, 1000, 1024]:
            chosen = choose(bits, clients)
            assert chosen.noise_bound <= chosen.noise_capacity


def packing_of(bits: int, clients: int, lanes: int) -> Packing | None:
    """The packing with so many lanes and the largest cuts, or None where there is none."""
    plain_bits = ((clients * 2 * (2 ** (bits - 1) - 1) + 1) ** lanes - 1).bit_length()
    for up in range(58 - plain_bits, -1, -1):
        for down in range(58 - plain_bits, -1, -1):
            try:
                return Packing(bits, clients, lanes, plain_bits, up, down)
            except CapacityError:
                continue
    return None


@given(
    bits=st.integers(6, 24),
    clients=st.integers(2, 20),
    lanes=st.integers(1, 6),
    size=st.integers(1, 300),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_sums_are_exact_with_any_number_of_lanes(
    bits: int, clients: int, lanes: int, size: int, seed: int
) -> None:
    chosen = packing_of(bits, clients, lanes)
    assume(chosen is not None)
    assert chosen
    scheme, rng = Packed(chosen, "seeds"), np.random.default_rng(seed)
    values = rng.integers(-chosen.limit, chosen.limit, (clients, size), endpoint=True)
    values[:, : size // 3] = chosen.limit
    values[:, size // 3 : size // 2] = -chosen.limit
    accumulator, seeds = scheme.accumulator(size), []
    sender, opener = scheme.sender(KEY), scheme.opener(KEY)
    for row in values:
        zero = sender.prepare(size)
        seeds.append(zero.seeds)
        accumulator.plus(scheme.payload(memoryview(sender.seal(zero, row)), size))
    total = memoryview(accumulator.total(seeds))
    authentic = opener.authentic(None, [(b"", b"")] * clients, total, size)
    assert authentic
    sums = opener.open(authentic, opener.keystream(seeds, size))
    assert sums is not None
    assert np.array_equal(sums, values.sum(axis=0))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_bound_is_where_decryption_ends(sign: int) -> None:
    """Past the capacity the same construction fails: the test above is no formality."""
    chosen = choose(16, 10)
    worst = chosen.noise_bound - chosen.noise_capacity
    assert worst <= 0
    sent, read = open_worst(chosen, sign, excess=-worst + 40)
    assert read is None or not np.array_equal(read, sent)


def unchecked(
    bits: int, clients: int, lanes: int, plain_bits: int, upload_cut: int, download_cut: int
) -> Packing:
    made = object.__new__(Packing)
    for name, value in {
        "bits": bits,
        "max_clients": clients,
        "lanes": lanes,
        "plain_bits": plain_bits,
        "upload_cut": upload_cut,
        "download_cut": download_cut,
    }.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("clients", [3, 7, 15, 31])
def test_the_download_cut_counts_also_where_it_equals_the_uploads(clients: int) -> None:
    """A bound that leaves the download's half out for equal cuts accepts this, and it fails."""
    chosen = choose(16, clients)
    plain_bits, lanes = chosen.plain_bits, chosen.lanes
    capacity = MODULUS // 2 ** (plain_bits + 1) - 1
    cut = max(c for c in range(1, 57) if clients * (FRESH_NOISE + 1 + 2 ** (c - 1)) < capacity)
    assert clients * (FRESH_NOISE + 1 + half(cut)) + half(cut) >= capacity
    with pytest.raises(CapacityError, match="noise"):
        Packing(16, clients, lanes, plain_bits, cut, cut)
    sent, read = open_worst(unchecked(16, clients, lanes, plain_bits, cut, cut), 1)
    assert read is not None
    assert not np.array_equal(read, sent)


@pytest.mark.parametrize("clients", [62, 63, 64, 65, 100, 127, 128, 1000])
def test_sums_of_many_uncut_words_do_not_overflow(clients: int) -> None:
    """64-bit words overflow after 63 additions of 58 bits; the sum reduces before that."""
    chosen = Packing(6, clients, 1, 16, 3, 3)
    scheme = Packed(chosen, "seeds")
    accumulator = scheme.accumulator(5)
    words = np.full(chosen.coefficients(5), (MODULUS - 1) >> 3 << 3, np.uint64)
    payload = memoryview(planes.encode(words >> np.uint64(3), chosen.upload_bits))
    for _ in range(clients):
        accumulator.plus(scheme.payload(payload, 5))
    expected = (int(words[0]) * clients) % MODULUS
    read = planes.decode(accumulator.partial(), len(words), MODULUS_BITS)
    assert read.tolist() == [expected] * len(words)


EXTREME = st.sampled_from([1.0, -1.0, 0.0, 0.5, -0.5]) | st.floats(-1, 1, width=32)


INNER = secagg.generate_identity()


@given(
    bits=st.integers(6, 32),
    clients=st.integers(2, 9),
    size=st.integers(1, 40) | st.sampled_from([4095, 8183, 8200, 12289]),
    weighted=st.booleans(),
    masks=st.booleans(),
    download=st.sampled_from(["seeds", "summed", "covered"]),
    scheme=st.sampled_from(["packed", "packed", "slots"]),
    tree=st.booleans(),
    extremes=st.lists(EXTREME, min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_sums_equal_numpys_integers(
    bits: int,
    clients: int,
    size: int,
    weighted: bool,
    masks: bool,
    download: str,
    scheme: str,
    tree: bool,
    extremes: list[float],
    seed: int,
) -> None:
    rng, masks = np.random.default_rng(seed), masks and clients > 2
    params = parameters(
        clients,
        {"w": (size,)},
        bits=bits,
        clip_range=1.0,
        max_weight=1024 if weighted else None,
        adversary=against(masks),
        scheme=scheme,
        download=("seeds" if download == "seeds" else "summed") if scheme == "packed" else None,
        cover_c0=True if download == "covered" and scheme == "packed" else None,
        tolerance=1.0,
        aggregators=(INNER.public,),
    )
    sent = [{"w": rng.uniform(-1, 1, size)} for _ in range(clients)]
    sent[0]["w"][:] = np.resize(extremes, size)
    sent[-1]["w"][: size // 2] = 1.0  # all parties at the top of the range, then at its bottom
    for each in sent:
        each["w"][:1] = 1.0
        each["w"][-1:] = -1.0
    weights = [1, *rng.integers(0, 1025, clients - 1).tolist()] if weighted else None
    parties = Round.of(params)
    uploads = parties.uploads(sent, weights)
    if tree:
        middle = clients // 2
        root = secagg.Aggregator(params, 1)
        for branch in params.groups or (range(middle), range(middle, clients)):
            leaf = secagg.Aggregator(params, 1, identity=INNER)
            for place in branch:
                leaf.add(uploads[place])
            root.add_partial(leaf.partial())
        total = root.total()
        assert total == parties.total(uploads)  # a tree changes no byte of what decryptors get
    else:
        total = parties.total(uploads)
    result = parties.decryptor.decrypt(total, 1)
    expected = expected_mean(params, sent, weights)
    assert np.array_equal(result.mean["w"], expected["w"])
    assert result.total_weight == (sum(weights) if weights else None)


def test_a_thousand_clients() -> None:
    params = parameters(1000, {"w": (50,)}, max_weight=None)
    parties = Round.of(params)
    sent = [{"w": np.full(50, 0.05 if place % 3 else -0.05)} for place in range(1000)]
    result = parties.run(sent)
    assert np.array_equal(result.mean["w"], expected_mean(params, sent)["w"])
    assert len(result.senders) == 1000
