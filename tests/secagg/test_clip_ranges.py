"""A range for each array: which one it is, what it does to the mean, and what is said of a bad one.

The state_dict of the first tests is like a real one: weights of some tenths, and a running variance
of up to 716 that under one range takes all bits from the last layer.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import CapacityError, ConfigError, DecodeError, PrecisionWarning
from tests.secagg.parties import Round, parameters

SHAPES = {"bn.running_var": (8,), "bn.weight": (8,), "head.bias": (2,), "head.weight": (2, 8)}
LARGEST = {"bn.running_var": 716.0, "bn.weight": 1.5, "head.bias": 0.01, "head.weight": 0.008}
FITTING = {"*.running_var": 1000.0, "head.*": 0.02}


def states(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return [
        {
            name: (LARGEST[name] * rng.uniform(-1, 1, shape)).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        for _ in range(count)
    ]


def loss(result: secagg.MeanResult, sent: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """By array, the RMS error of the mean over its RMS."""
    lost = {}
    for name, mean in result.mean.items():
        exact = np.mean([each[name].astype(float) for each in sent], axis=0)
        lost[name] = float(np.sqrt(np.mean((mean - exact) ** 2) / np.mean(exact**2)))
    return lost


@pytest.mark.parametrize("scheme", ["packed", "slots", "ckks", "reference"])
def test_every_array_keeps_its_digits(scheme: str) -> None:
    sent = states(3)
    ranges = {"scheme": scheme, "clip_range": 4.0, "max_weight": None}
    result = Round.of(parameters(3, SHAPES, clip_ranges=FITTING, **ranges)).run(sent)
    assert max(loss(result, sent).values()) < 0.01
    exact = {name: np.mean([each[name].astype(float) for each in sent], axis=0) for name in SHAPES}
    if scheme != "ckks":
        for name, mean in result.mean.items():
            assert np.abs(mean - exact[name]).max() <= result.max_errors[name] * (1 + 1e-6)
    assert result.max_error == result.max_errors["bn.running_var"]


def test_one_range_for_all_costs_the_last_layer_everything() -> None:
    """The planted fault: what a job without ranges by array does, and that it warns."""
    sent = states(3)
    params = parameters(3, SHAPES, clip_range=1000.0, max_weight=None)
    with pytest.warns(PrecisionWarning) as warned:
        result = Round.of(params).run(sent)
    assert loss(result, sent)["head.weight"] > 0.9
    texts = {str(each.message) for each in warned}
    for name in ("bn.weight", "head.bias", "head.weight"):
        assert any(text.startswith(f"array {name!r}: ") and name in text for text in texts)
    assert not any("running_var'" in text for text in texts)


def test_a_name_goes_before_patterns_and_the_first_pattern_before_later_ones() -> None:
    params = parameters(
        3,
        SHAPES,
        clip_ranges={"head.*": 1.0, "head.weight": 3.0, "*.bias": 2.0, "*.running_*": 1e3},
    )
    assert {name: params.range_of(name) for name in SHAPES} == {
        "bn.running_var": 1e3,
        "bn.weight": 0.05,
        "head.bias": 1.0,
        "head.weight": 3.0,
    }
    with pytest.raises(ConfigError, match="no array 'head' in the layout"):
        params.range_of("head")


def test_a_name_that_looks_like_a_pattern_is_a_name() -> None:
    params = parameters(3, {"w[0]": (1,), "w0": (1,)}, clip_ranges={"w[0]": 2.0})
    assert (params.range_of("w[0]"), params.range_of("w0")) == (2.0, 0.05)


def test_equal_ranges_are_equal_bytes() -> None:
    by_pattern = parameters(3, SHAPES, clip_ranges={"head.*": 1, "bn.*": 0.05})
    by_name = parameters(3, SHAPES, clip_ranges=[("head.weight", 1.0), ("head.bias", np.int64(1))])
    assert by_pattern.clip_ranges == (("head.bias", 1.0), ("head.weight", 1.0))
    assert by_pattern == by_name
    assert by_pattern.fingerprint == by_name.fingerprint
    assert secagg.Parameters.from_bytes(by_pattern.to_bytes()) == by_pattern
    assert replace(by_pattern, clip_ranges=by_pattern.clip_ranges) == by_pattern
    other = parameters(3, SHAPES, clip_ranges={"head.*": 2.0})
    assert other.fingerprint != by_pattern.fingerprint != parameters(3, SHAPES).fingerprint


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({"*.running_variance": 1.0}, r"no array is called '\*\.running_variance'.*running_var"),
        ({"head.wieght": 1.0}, r"no array is called 'head\.wieght'.*head\.weight"),
        ({"steps": 1.0}, "hold integers and do not travel"),
        ({"bn.weight": 0.0}, "the range of 'bn.weight' must be 1e-20 to 1e20, not 0"),
        ({"bn.weight": float("nan")}, "must be 1e-20 to 1e20"),
        ({"bn.weight": -1.0}, "must be 1e-20 to 1e20"),
        ({"bn.weight": "1"}, "clip_ranges is ranges by"),
        ({"bn.weight": True}, "clip_ranges is ranges by"),
        ({"bn.weight": None}, "clip_ranges is ranges by"),
        ({"bn.weight": 10**400}, "clip_ranges is ranges by"),
        ({1: 1.0}, "clip_ranges is ranges by"),
        ("bn.weight", "clip_ranges is ranges by"),
        (3.0, "clip_ranges is ranges by"),
        (None, "clip_ranges is ranges by"),
        ([("bn.weight",)], "clip_ranges is ranges by"),
        ([("bn.weight", 1.0), ("bn.weight", 2.0)], "twice"),
    ],
)
def test_ranges_that_are_none(ranges: Any, said: str) -> None:
    layout = secagg.Layout(tuple(SHAPES.items()), ("steps",))
    with pytest.raises(ConfigError, match=said):
        parameters(3, layout=layout, clip_ranges=ranges)


def test_integers_with_noise_have_no_ranges() -> None:
    with pytest.raises(ConfigError, match="leave clip_ranges out"):
        parameters(3, SHAPES, noise_shares=True, max_weight=None, clip_ranges={"bn.*": 1.0})


def test_a_text_with_other_ranges_than_canonical_ones() -> None:
    text = parameters(3, SHAPES, clip_ranges={"head.*": 1.0}).to_bytes()
    ours = b'[["head.bias",1.0],["head.weight",1.0]]'
    assert ours in text
    for other in (
        b'[["head.*",1.0]]',  # patterns are never searched for in bytes of strangers
        b'[["head.weight",1.0],["head.bias",1.0]]',
        b'[["bn.weight",0.05],["head.bias",1.0],["head.weight",1.0]]',
        b'{"head.bias":1.0,"head.weight":1.0}',
        b'[["head.bias",1],["head.weight",1.0]]',
        b"null",
        b"[1]",
    ):
        with pytest.raises(DecodeError):
            secagg.Parameters.from_bytes(text.replace(ours, other))


def test_a_value_past_its_range_names_array_and_range() -> None:
    params = parameters(3, SHAPES, clip_range=4.0, clip_ranges=FITTING, max_weight=None)
    sent = states(1)[0]
    sent["head.bias"][0] = 0.5  # inside clip_range, past its own range
    with pytest.raises(
        CapacityError, match=r"'head\.bias' is past its range of 0\.02: .*clip_rang"
    ):
        Round.of(params).encryptors[0].encrypt(sent, round_id=1)


def test_each_array_is_warned_of_once() -> None:
    params = parameters(3, SHAPES, clip_range=1000.0, max_weight=None)
    encryptor = Round.of(params).encryptors[0]
    sent = states(1)[0]
    sent["head.bias"][:] = 0  # nothing is lost of zeros
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        encryptor.encrypt(sent, round_id=1)
        encryptor.encrypt(sent, round_id=2)
    told = sorted(str(each.message) for each in warned)
    assert len(told) == 2
    assert told[0] == (
        "array 'bn.weight': its values use under a hundredth of its range of 1000; give it a range "
        "that fits, by clip_ranges={'bn.weight': …}, or let a range round find it (docs/arrays.md)"
    )
    assert told[1].startswith("array 'head.weight': ")


@pytest.mark.parametrize(("past", "share"), [(1, "under 1 %"), (50, "50 %"), (200, "100 %")])
def test_the_share_that_is_clipped_is_told(past: int, share: str) -> None:
    params = parameters(
        3, {"w": (200,)}, clip_ranges={"w": 1.0}, out_of_range="clip", max_weight=None
    )
    values = np.full(200, 0.5)
    values[:past] = -7.0
    if past == 50:
        values[:100] = 7.0
    with pytest.warns(PrecisionWarning, match=f"^array 'w': {share} of its values are clipped"):
        Round.of(params).encryptors[0].encrypt({"w": values}, round_id=1)


@pytest.mark.parametrize("bits", [24, 31, 32])
def test_the_largest_error_counts_float32(bits: int) -> None:
    """Its grid alone, which older versions told, is finer than a mean in float32 can be."""
    params = parameters(2, {"w": (10_000,)}, clip_range=1.0, bits=bits, max_weight=None)
    rng = np.random.default_rng(3)
    sent = [{"w": rng.uniform(-1, 1, 10_000)} for _ in range(2)]
    result = Round.of(params).run(sent)
    exact = (sent[0]["w"] + sent[1]["w"]) / 2
    error = np.abs(result.mean["w"].astype(float) - exact).max()
    assert error <= result.max_error
    assert error > params.step / 2
    assert result.max_error == pytest.approx(params.step / 2 + 2.0**-24)


def test_the_order_of_a_dict_does_not_matter() -> None:
    arrays = states(1)[0] | {"steps": np.int64(3), "again": np.int64(3)}
    layout = secagg.Layout.of(arrays)
    assert secagg.Layout.of(dict(reversed(arrays.items()))) == layout
    assert [name for name, _ in layout.entries] == sorted(SHAPES)
    assert layout.skipped == ("again", "steps")
