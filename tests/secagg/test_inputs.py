"""What goes in: arrays, state_dicts, integers, settings; and how light the package is."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed import secagg
from privfed.errors import AuthenticationError, CapacityError, ConfigError, DecodeError
from privfed.secagg.quantize import Quantizer
from tests.secagg.parties import Round, against, expected_mean, identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


def test_exports() -> None:
    assert sorted(secagg.__all__) == [
        "Aggregator", "Decryptor", "Encryptor", "Identity", "IntegerResult", "Keyring", "Layout",
        "MeanResult", "Parameters", "Party", "PublicIdentity", "RoundCost", "SecretKey",
        "Simulation", "generate_identity", "generate_keys", "learnt", "octaves", "open_key",
        "range_round", "seal_key", "simulate",
    ]  # fmt: skip
    assert all(hasattr(secagg, name) for name in secagg.__all__)


def run_python(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()


def test_importing_loads_neither_seal_nor_torch() -> None:
    heavy = "tenseal torch pandas scipy sklearn matplotlib zstandard opacus"
    loaded = run_python(
        f"import privfed.secagg, sys; print(*[n for n in {heavy.split()} if n in sys.modules])"
    )
    assert loaded == []


def test_the_server_never_loads_seal(tmp_path: Path) -> None:
    """The packed scheme's server, with its parameters and two uploads from files."""
    parties = Round.of(parameters(3, SHAPES))
    (tmp_path / "params").write_bytes(parties.params.to_bytes())
    for place, upload in enumerate(parties.uploads(updates(3, SHAPES), [1, 2, 3])):
        (tmp_path / str(place)).write_bytes(upload)
    loaded = run_python(
        "import pathlib, sys\n"
        "from privfed import secagg\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "params = secagg.Parameters.from_bytes((folder / 'params').read_bytes())\n"
        "aggregator = secagg.Aggregator(params, 1)\n"
        "for place in range(3): aggregator.add((folder / str(place)).read_bytes())\n"
        "(folder / 'total').write_bytes(aggregator.total())\n"
        "print(*[n for n in sys.modules if 'tenseal' in n or 'sealapi' in n])"
    )
    assert loaded == []
    result = parties.decryptor.decrypt((tmp_path / "total").read_bytes(), 1)
    assert result.total_weight == 6


# Arrays.


@pytest.mark.parametrize("scheme", ["packed", "reference"])
def test_a_torch_state_dict_with_counters(scheme: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)) for _ in range(3)]
    sent = [model.state_dict() for model in models]
    layout = secagg.Layout.of(sent[0])
    assert layout.skipped == ("1.num_batches_tracked",)
    assert layout.size == 4 * 3 + 3 + 4 * 3
    params = parameters(3, scheme=scheme, layout=layout, clip_range=2.0, max_weight=None)
    mean = Round.of(params).run(sent).mean
    for name, array in mean.items():
        assert array.dtype == np.float32
        true = torch.stack([each[name] for each in sent]).mean(0).detach().numpy()
        assert np.abs(array - true).max() <= 2.0 / (2**15 - 1) / 2 + 1e-7
    models[0].load_state_dict({name: torch.tensor(each) for name, each in mean.items()}, False)


def test_other_kinds_of_floats_and_tensors_that_need_gradients() -> None:
    torch = pytest.importorskip("torch")
    arrays = {
        "half": np.array([0.25, -0.5], np.float16),
        "double": np.array([0.1], np.float64),
        "bfloat": torch.tensor([0.5], dtype=torch.bfloat16),
        "learned": torch.nn.Parameter(torch.tensor([[0.75]])),
        "strided": np.arange(6, dtype=np.float32).reshape(2, 3).T / 10,
        "empty": np.zeros((0, 3), np.float32),
    }
    params = parameters(
        2, layout=secagg.Layout.of(arrays), clip_range=1.0, bits=24, max_weight=None
    )
    mean = Round.of(params).run([arrays, arrays]).mean
    for name in ("half", "double", "strided"):
        assert np.abs(mean[name] - arrays[name]).max() < 1e-6
    assert mean["learned"][0, 0] == pytest.approx(0.75, abs=1e-6)
    assert mean["bfloat"][0] == pytest.approx(0.5, abs=1e-6)
    assert mean["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"w": np.zeros(0)},
        {"steps": np.array(3)},
        {"w": np.array([1j])},
        {"w": np.array(["a"])},
    ],
    ids=["none", "no values", "integers alone", "complex", "text"],
)
def test_layouts_that_are_none(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConfigError):
        secagg.Layout.of(arrays)


def test_arrays_in_another_order_are_the_same_update() -> None:
    params, sent = parameters(2, SHAPES), updates(2, SHAPES)
    backwards = [dict(reversed(each.items())) for each in sent]
    mean = Round.of(params).run(backwards, [1, 2]).mean
    assert np.array_equal(mean["w"], expected_mean(params, sent, [1, 2])["w"])


def test_an_update_is_not_changed_by_sending_it() -> None:
    params, sent = parameters(2, SHAPES), updates(2, SHAPES)
    before = {name: array.copy() for name, array in sent[0].items()}
    Round.of(params).run(sent, [1, 2])
    assert all(np.array_equal(sent[0][name], before[name]) for name in before)


# Integers.


@pytest.mark.parametrize(
    ("scheme", "masks"),
    [
        ("packed", False),
        ("packed", True),
        ("slots", False),
        ("slots", True),
        ("reference", False),
    ],
)
def test_integers_are_summed_as_they_are(scheme: str, masks: bool) -> None:
    params = parameters(3, SHAPES, scheme=scheme, adversary=against(masks), max_weight=None)
    parties, rng = Round.of(params), np.random.default_rng(0)
    top = 3 * (2**15 - 1)
    sent = [
        {name: rng.integers(-100, 100, shape) for name, shape in SHAPES.items()} for _ in range(3)
    ]
    # One party's noise may leave the range of a value, as long as the sum stays in its own.
    sent[0]["w"][0, :2] = top, -top
    sent[1]["w"][0, :2] = -top, top
    uploads = [
        encryptor.encrypt_integers(each, round_id=1)
        for encryptor, each in zip(parties.encryptors, sent, strict=True)
    ]
    result = parties.decryptor.decrypt_sums(parties.total(uploads), 1)
    for name in SHAPES:
        assert result.sums[name].dtype == np.int64
        assert np.array_equal(result.sums[name], sum(each[name] for each in sent))
    assert len(result.senders) == 3


@pytest.mark.parametrize("scheme", ["packed", "reference"])
def test_only_the_sum_of_integers_has_to_fit(scheme: str) -> None:
    """Whether a round fails must tell nothing of one party's noisy integers."""
    parties = Round.of(parameters(3, {"w": (4,)}, scheme=scheme, max_weight=None))
    huge = np.array([2**62, -(2**62), 2**40, 12345])
    sent = [huge, 3 - huge, np.array([1, 2, 3, -4])]
    uploads = [
        encryptor.encrypt_integers({"w": each}, round_id=1)
        for encryptor, each in zip(parties.encryptors, sent, strict=True)
    ]
    result = parties.decryptor.decrypt_sums(parties.total(uploads), 1)
    assert result.sums["w"].tolist() == [4, 5, 6, -1]


def test_integers_that_no_sum_can_be() -> None:
    parties = Round.of(parameters(3, SHAPES, max_weight=None, scheme="slots"))
    sent = {name: np.zeros(shape, np.int64) for name, shape in SHAPES.items()}
    sent["b"][0] = 3 * (2**15 - 1) + 1
    with pytest.raises(CapacityError, match="bits"):
        parties.encryptors[0].encrypt_integers(sent, round_id=1)
    sent["b"][0] = np.iinfo(np.int64).min
    with pytest.raises(CapacityError):
        parties.encryptors[0].encrypt_integers(sent, round_id=1)
    with pytest.raises(ConfigError, match="integers"):
        parties.encryptors[0].encrypt_integers(updates(1, SHAPES)[0], round_id=1)
    weighted = Round.of(parameters(3, SHAPES))
    sent["b"][0] = 0
    with pytest.raises(ConfigError, match="weights"):
        weighted.encryptors[0].encrypt_integers(sent, round_id=1)
    with pytest.raises(ConfigError, match="weights"):
        weighted.decryptor.decrypt_sums(b"", 1)


@pytest.mark.parametrize("scheme", ["packed", "slots", "reference"])
def test_a_sum_that_overflows_is_refused_and_not_wrapped(scheme: str) -> None:
    params = parameters(2, {"w": (3,)}, scheme=scheme, max_weight=None)
    parties = Round.of(params)
    top = 2 * (2**15 - 1)
    uploads = [
        encryptor.encrypt_integers({"w": np.array([top, 0, 0])}, round_id=1)
        for encryptor in parties.encryptors
    ]
    with pytest.raises(AuthenticationError):
        parties.decryptor.decrypt_sums(parties.total(uploads), 1)


# Settings.


@pytest.mark.parametrize(
    "changes",
    [
        {"job": ""},
        {"job": "x" * 201},
        {"clip_range": 0.0},
        {"clip_range": -1.0},
        {"clip_range": float("nan")},
        {"clip_range": float("inf")},
        {"bits": 5},
        {"bits": 33},
        {"max_clients": 1, "min_clients": 1},
        {"min_clients": 1},
        {"min_clients": 4},
        {"max_clients": 4},
        {"adversary": "lying-server+1", "min_clients": 2},
        {"adversary": "lying-server+2"},
        {"adversary": "lying-server+0"},
        {"adversary": "lying-server+-1"},
        {"adversary": "lying-server+1 "},
        {"adversary": "somebody"},
        {"adversary": 1},
        {"adversary": "lying-server", "scheme": "ckks"},
        {"adversary": "lying-server", "scheme": "reference"},
        {"adversary": None, "scheme": "ckks"},
        {"adversary": "lying-server", "group_sizes": (1, 2)},
        {"adversary": "lying-server", "group_sizes": (2,)},
        {"adversary": "lying-server", "group_sizes": (2.0, 1)},
        {"adversary": "lying-server", "group_sizes": "3"},
        {"adversary": "lying-server", "group_sizes": 3},
        {"group_sizes": (3,)},
        {
            "adversary": "lying-server",
            "noise_shares": True,
            "max_weight": None,
            "group_sizes": (3,),
        },
        {"noise_shares": 1},
        {"noise_shares": True},  # and weights
        {"adversary": "lying-server", "max_clients": 2, "group_sizes": (3,)},
        {"aggregators": "all"},
        {"aggregators": (1,)},
        {"max_weight": 0},
        {"max_weight": 2**41},
        {"scheme": "rot13"},
        {"download": "both"},
        {"download": "seeds", "scheme": "slots"},
        {"download": "seeds", "scheme": "ckks"},
        {"out_of_range": "wrap"},
        {"tolerance": 0.0},
        {"bits": 16.0},
        {"max_weight": "many"},
        {"clip_range": None},
        {"cover_c0": 1},
        {"tolerance": 2.0},
    ],
    ids=str,
)
def test_settings_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, CapacityError)) as caught:
        parameters(3, SHAPES, **changes)
    assert "\n" not in str(caught.value)


def means(
    params: secagg.Parameters, sent: Sequence[np.ndarray], weights: Sequence[int] | None
) -> np.ndarray:
    """The mean of updates as the decryptor computes it, without what carries it there."""
    quantizer, start = Quantizer(params), params.weight_digits
    checked = [
        quantizer.check({"w": update}, weight)
        for update, weight in zip(sent, weights if weights else [None] * len(sent), strict=True)
    ]
    sums = np.sum([quantizer.integers(each, start, params.values) for each in checked], axis=0)
    mean = np.empty(params.layout.size, np.float32)
    quantizer.mean(sums, 0, sum(weights) if weights else None, len(sent), mean)
    return mean


def weights_of(parties: int, max_weight: int) -> st.SearchStrategy[list[int]]:
    """Weights, some of them 0, but not all."""
    weight = st.integers(0, max_weight) | st.integers(0, min(max_weight, 9)) | st.just(0)
    return st.lists(weight, min_size=parties, max_size=parties).filter(any)


@given(
    bits=st.integers(6, 32),
    clip_range=st.just(1.0) | st.floats(1e-20, 1e20),
    max_weight=st.integers(1, 2**40),
    parties=st.integers(2, 6),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore::privfed.errors.PrecisionWarning")
def test_a_weighted_mean_is_within_max_error_of_numpys(
    bits: int, clip_range: float, max_weight: int, parties: int, data: st.DataObject
) -> None:
    params = parameters(
        parties, {"w": (6,)}, bits=bits, clip_range=clip_range, max_weight=max_weight, tolerance=1.0
    )
    top = float(np.float32(clip_range))  # may lie past the range
    share = st.floats(-1, 1).map(lambda drawn: drawn * clip_range) | st.sampled_from(
        [top, -top, 0.0]
    )
    sent = [np.array(data.draw(st.lists(share, min_size=6, max_size=6))) for _ in range(parties)]
    weights = data.draw(weights_of(parties, max_weight))
    exact = np.average(sent, axis=0, weights=np.array(weights, float))
    error = Quantizer(params).max_errors(sum(weights), parties)["w"]
    rounding = 1e-6 * error + 1e-15 * clip_range  # of float64, here and in numpy's own average
    assert np.abs(means(params, sent, weights) - exact).max() <= error + rounding


@given(
    bits=st.integers(6, 32),
    clip_range=st.floats(1e-20, 1e20),
    max_weight=st.none() | st.integers(1, 2**40),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_the_next_round_accepts_every_mean(
    bits: int, clip_range: float, max_weight: int | None, data: st.DataObject
) -> None:
    params = parameters(
        3, {"w": (6,)}, bits=bits, clip_range=clip_range, max_weight=max_weight, tolerance=1.0
    )
    top = np.float32(clip_range)
    share = st.floats(-1, 1) | st.sampled_from([1.0, -1.0])
    drawn = [[1, -1, *data.draw(st.lists(share, min_size=4, max_size=4))] for _ in range(3)]
    sent = [(np.array(each) * clip_range).astype(np.float32).clip(-top, top) for each in drawn]
    weights = None
    if max_weight:
        weights = data.draw(weights_of(3, max_weight))
    mean = means(params, sent, weights)
    again = means(params, [mean] * 3, weights)  # out_of_range="refuse"
    assert np.abs(again).max() <= top


def test_a_weighted_mean_ends_at_the_range() -> None:
    """Sums rounded up come back a part of a step past it: 96 steps for 95.997 at 16 bits."""
    params = parameters(3, {"w": (2,)}, clip_range=1.0, max_weight=1024)
    mean = means(params, [np.array([1, -1], np.float32)] * 3, [3, 3, 3])
    assert 3 * 96 * params.step * 1024 / 9 > 1.00003
    assert mean.tolist() == [1.0, -1.0]


@pytest.mark.parametrize("scheme", ["ckks", "reference"])
def test_what_a_lying_server_reads_needs_an_honest_one(scheme: str) -> None:
    for adversary in ("lying-server", "lying-server+1", None):
        with pytest.raises(ConfigError, match="adversary='honest-server'"):
            parameters(3, SHAPES, scheme=scheme, adversary=adversary)
    trusting = parameters(3, SHAPES, scheme=scheme, adversary="honest-server")
    text = trusting.to_bytes()
    assert secagg.Parameters.from_bytes(text) == trusting
    with pytest.raises(DecodeError, match="not valid"):
        secagg.Parameters.from_bytes(
            text.replace(b'"adversary":"honest-server"', b'"adversary":"lying-server"')
        )


@pytest.mark.parametrize(
    ("clients", "changes", "adversary", "groups", "quorum", "masks"),
    [
        (2, {}, "lying-server", (2,), 2, False),
        (3, {}, "lying-server+1", (3,), 3, True),
        (10, {}, "lying-server+1", (4, 3, 3), 3, True),
        (10, {"adversary": "lying-server+2"}, None, (5, 5), 5, True),
        (10, {"adversary": "lying-server+8"}, None, (10,), 10, True),
        (7, {"adversary": "lying-server"}, None, (3, 2, 2), 2, False),
        (7, {"adversary": "lying-server+1", "group_sizes": (3, 4)}, None, (3, 4), 3, True),
        (7, {"adversary": "lying-server+1", "min_clients": 5}, None, (4, 3), 5, True),
        (7, {"adversary": "honest-server"}, None, (), 2, False),
        (
            7,
            {"adversary": "lying-server+2", "noise_shares": True, "max_weight": None},
            None,
            (),
            4,
            True,
        ),
        (7, {"adversary": "honest-server", "scheme": "ckks"}, None, (), 2, False),
    ],
    ids=str,
)
def test_one_choice_sets_masks_groups_and_quorum(
    clients: int, changes: dict[str, Any], adversary: str | None, groups: tuple[int, ...],
    quorum: int, masks: bool,
) -> None:  # fmt: skip
    params = parameters(clients, SHAPES, **{"adversary": None, **changes})
    assert params.adversary == (adversary or changes["adversary"])
    assert (params.group_sizes, params.quorum, params.masks) == (groups, quorum, masks)
    assert [place for group in params.groups for place in group] == (
        list(range(clients)) if groups else []
    )
    assert secagg.Parameters.from_bytes(params.to_bytes()) == params


@pytest.mark.parametrize("adversary", ["lying-server+1", "lying-server"])
@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({"scheme": "slots"}, True),
        ({"scheme": "packed"}, False),
        ({"scheme": "packed", "download": "summed"}, False),
        ({"scheme": "packed", "download": "summed", "cover_c0": True}, True),
        ({"scheme": "packed", "download": "summed", "bits": 24}, False),
        ({"scheme": "packed", "download": "summed", "bits": 15}, True),  # cut by 5 bits
        ({"scheme": "packed", "bits": 15}, False),
    ],
    ids=str,
)
def test_what_is_authenticated_needs_no_honest_server(
    changes: dict[str, Any], covered: bool, adversary: str
) -> None:
    params = parameters(3, SHAPES, adversary=adversary, **changes)
    assert params.covers_c0 == covered
    assert secagg.Parameters.from_bytes(params.to_bytes()) == params


@pytest.mark.parametrize(
    "changes",
    [
        {"scheme": "packed"},  # seeds
        {"scheme": "reference"},
        {"scheme": "ckks"},
        {"scheme": "slots", "cover_c0": False},
        {"scheme": "packed", "download": "summed", "bits": 15, "cover_c0": False},
    ],
    ids=str,
)
def test_a_cover_of_c0_that_there_is_not(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cover"):
        parameters(3, SHAPES, **{"cover_c0": True, **changes})


def test_few_parties_get_seeds_and_many_have_some_open_for_all() -> None:
    few, many = ("seeds", "seeds"), ("opener", "summed")
    for clients, (mode, totals) in ((2, few), (31, few), (32, many), (1024, many)):
        params = parameters(clients, SHAPES, max_weight=None)
        assert (params.download_mode, params.totals) == (mode, totals)
    assert parameters(4, SHAPES, download="opener").totals == "seeds"
    assert parameters(40, SHAPES, download="summed").download_mode == "summed"
    for scheme, totals in (("slots", "summed"), ("reference", "seeds")):
        params = parameters(40, SHAPES, scheme=scheme)
        assert (params.download_mode, params.totals) == (totals, totals)
        assert replace(params, download="opener").totals == totals


def test_one_more_party_opens_than_may_lie() -> None:
    for adversary, openers in (("honest-server", 1), ("lying-server", 1), ("lying-server+2", 3)):
        assert parameters(6, SHAPES, adversary=adversary).openers == openers


def test_parameters_of_an_earlier_version_are_refused_with_what_to_do() -> None:
    text = parameters(3, SHAPES).to_bytes().replace(b'"adversary":"honest-server",', b"")
    text = text.replace(b'"version":5', b'"version":1')
    with pytest.raises(DecodeError, match=r"version 1, this privfed reads 5: agree on new ones"):
        secagg.Parameters.from_bytes(text)


def test_a_roster_with_a_party_twice() -> None:
    public = identities(1)[0].public
    with pytest.raises(ConfigError, match="twice"):
        parameters(2, SHAPES, roster=(public, public))


def test_numbers_of_other_types_make_the_same_parameters() -> None:
    same = parameters(3, SHAPES, bits=np.int64(16), clip_range=np.float64(0.05))
    assert same.to_bytes() == parameters(3, SHAPES).to_bytes()
    whole = parameters(3, SHAPES, clip_range=1)
    assert whole.fingerprint == parameters(3, SHAPES, clip_range=1.0).fingerprint


@given(
    job=st.text(min_size=1, max_size=20),
    clip_range=st.floats(1e-6, 1e6),
    bits=st.integers(6, 32),
    max_weight=st.none() | st.integers(1, 2**40),
    scheme=st.sampled_from(["packed", "slots"]),
    names=st.lists(st.text(max_size=5), min_size=1, max_size=3, unique=True),
    adversary=st.sampled_from(["honest-server", "lying-server", "lying-server+1", None]),
)
@settings(max_examples=50, deadline=None)
def test_parameters_round_trip_as_bytes(names: list[str], **changes: Any) -> None:
    params = parameters(
        3,
        layout=secagg.Layout(tuple((name, (2, place)) for place, name in enumerate(names, 1))),
        min_clients=3,
        tolerance=1.0,
        **changes,
    )
    again = secagg.Parameters.from_bytes(params.to_bytes())
    assert again == params
    assert again.fingerprint == params.fingerprint
    assert pickle.loads(pickle.dumps(params)) == params  # noqa: S301  (public, and our own)


def test_every_setting_changes_the_fingerprint() -> None:
    base = parameters(3, SHAPES)
    changes: list[dict[str, Any]] = [
        {"job": "other"}, {"clip_range": 0.06}, {"bits": 17}, {"max_weight": 1025},
        {"max_weight": None}, {"min_clients": 3}, {"scheme": "slots"}, {"out_of_range": "clip"},
        {"adversary": "lying-server+1"}, {"download": "summed"}, {"tolerance": 0.04},
        {"adversary": "lying-server"}, {"noise_shares": True, "max_weight": None},
        {"aggregators": (identities(4)[3].public,)}, {"download": "summed", "cover_c0": True},
        {"layout": secagg.Layout((("w", (5, 7)), ("b", (5,))))},
        {"layout": secagg.Layout((("b", (5,)), ("w", (7, 5))))},
        {"roster": tuple(party.public for party in reversed(identities(3)))},
        {"roster": tuple(party.public for party in identities(4))},
    ]  # fmt: skip
    prints = {parameters(3, SHAPES, **change).fingerprint for change in changes}
    assert len(prints | {base.fingerprint}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b" ",
        lambda text: b" " + text,
        lambda text: text.replace(b'"version":5', b'"version":6'),
        lambda text: text.replace(b'"adversary":"honest-server",', b""),
        lambda text: text.replace(b'"adversary":"honest-server"', b'"adversary":null'),
        lambda text: text.replace(b'"adversary":"honest-server"', b'"adversary":0'),
        lambda text: text.replace(b'"group_sizes":[]', b'"group_sizes":null'),
        lambda text: text.replace(b'"bits":16', b'"bits":16.0'),
        lambda text: text.replace(b'"bits":16', b'"bits":"16"'),
        lambda text: text.replace(b'"bits":16', b'"bits":1e400'),
        lambda text: text.replace(b'"bits":16,', b""),
        lambda text: text.replace(b'"bits":16', b'"bits":16,"more":1'),
        lambda text: text.replace(b'"layout":[', b'"layout":[['),
        lambda text: b"[" * 100_000,
        lambda text: b"\xff",
        lambda text: b"null",
    ],
)
def test_parameters_that_are_none(change: Callable[[bytes], bytes]) -> None:
    text = parameters(3, SHAPES).to_bytes()
    with pytest.raises(DecodeError):
        secagg.Parameters.from_bytes(change(text))


@pytest.mark.parametrize("round_id", [-1, 2**64, 1.5, "1", None, True])
def test_round_numbers_that_are_none(round_id: Any) -> None:
    parties = Round.of(parameters(2, SHAPES))
    with pytest.raises(ConfigError, match="round_id"):
        parties.uploads(updates(1, SHAPES), [1], round_id)
    with pytest.raises(ConfigError, match="round_id"):
        secagg.Aggregator(parties.params, round_id)


def test_a_transcript_of_another_length() -> None:
    parties = Round.of(parameters(2, SHAPES))
    with pytest.raises(ConfigError, match="transcript"):
        parties.uploads(updates(1, SHAPES), [1], previous=b"short")
