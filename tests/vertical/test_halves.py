"""Halves on disk: equal when they come back, refused when anything in them changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError, ContextMismatchError, DecodeError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.linear.circuits import fresh_shares
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.linear.plan import Coefficients, VerticalPlan
from privfed.vertical.linear.query import GuestQuery, HostQuery
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.shares import negative, plus, residues
from privfed.vertical.linear.whitening import Whitening
from psi.storage import json_bytes
from tests.vertical.queries import Asked, talk

GUESTS, HOSTS, ROWS = 2, 3, 90
Pair = tuple[LinearHalf, LinearHalf]


def table(columns: int, seed: int) -> pd.DataFrame:
    drawn = np.random.default_rng(seed).standard_normal((ROWS, columns))
    cells = {f"column{i}": [f"{each:.4f}" for each in drawn[:, i]] for i in range(columns)}
    return pd.DataFrame({"id": [str(i) for i in range(ROWS)], **cells})


def frames(hosts: int = HOSTS) -> tuple[pd.DataFrame, pd.DataFrame]:
    return table(GUESTS, 1).assign(label="yes"), table(hosts, 2)


def made(coefficients: Coefficients = "own", hosts: int = HOSTS) -> tuple[Pair, Asked]:
    """Both halves of a model that nobody trained, and what they should say of their tables."""
    plan = VerticalPlan(
        rows=ROWS,
        guest_columns=GUESTS + 1,
        host_columns=hosts,
        guest_names=GUESTS,
        host_names=hosts,
        coefficients=coefficients,
    )
    drawn = np.random.default_rng(3).standard_normal(plan.lanes)
    units = drawn * plan.ball / 2 / np.linalg.norm(drawn) * plan.coefficient_scale / 2.0**plan.drop
    opened = np.rint(units / 2.0**plan.rounding).astype(np.int64)
    integers = opened << plan.rounding
    mine = fresh_shares(PLAIN_MODULUS, plan.lanes)
    shares = mine, plus(residues(integers << plan.drop), negative(mine))
    parts = opened[: plan.guest_columns], opened[plan.guest_columns :]
    halves, blocks = [], []
    for number, frame in enumerate(frames(hosts)):
        guest = number == 0
        features = frame.drop(columns=["id", "label"], errors="ignore")
        encoder = BlockEncoder.fit(features)
        whitening = Whitening.fit(encoder.matrix(features), 0.0)
        halves.append(
            LinearHalf(
                role="guest" if guest else "host",
                plan=plan,
                model="0123456789abcdef" * 4,
                answers="score",
                encoder=encoder.to_fields(),
                whitening=whitening.to_fields(),
                id_columns=("id",),
                normalise=None,
                label="label" if guest else None,
                classes=("no", "yes") if guest else (),
                middle=0.0,
                unit=1.0,
                coefficients=tuple(parts[number].tolist()) if coefficients == "own" else None,
                shares=tuple(shares[number].tolist()) if coefficients == "shared" else None,
            )
        )
        whitened = encoder.matrix(features) @ whitening.matrix
        blocks.append(with_intercept(whitened) if guest else whitened)
    nothing = np.empty(0, np.uint64)
    asked = Asked(
        plan=plan, integers=integers, numbers=(nothing, nothing), blocks=(blocks[0], blocks[1])
    )
    return (halves[0], halves[1]), asked


def kept(half: LinearHalf, folder: Path) -> Path:
    path = folder / f"{half.role}.json"
    half.save(path)
    return path


def sealed(half: dict[str, Any]) -> bytes:
    """A file whose digest is right, whatever it holds."""
    body = json.dumps(half, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest()
    return b'{"half":%b,"sha256":"%b","format":"privfed vertical half 1"}' % (body, digest.encode())


def written(data: bytes, folder: Path) -> Path:
    path = folder / "written.json"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("coefficients", ["own", "shared"])
def test_halves_come_back_and_score_rows(coefficients: Coefficients, tmp_path: Path) -> None:
    halves, asked = made(coefficients)
    found = [LinearHalf.load(kept(half, tmp_path)) for half in halves]
    assert found == list(halves)
    guest, host = (half.query(frame) for half, frame in zip(found, frames(), strict=True))
    assert isinstance(guest, GuestQuery)
    assert isinstance(host, HostQuery)
    talk(guest, host)
    assert np.array_equal(guest.scores, asked.expected)
    assert len(set(guest.scores.tolist())) > 10


def test_a_half_of_many_columns_comes_back(tmp_path: Path) -> None:
    (_, half), _ = made(hosts=80)
    path = kept(half, tmp_path)
    assert path.stat().st_size > 1 << 16
    assert LinearHalf.load(path) == half


def test_a_half_is_for_its_owner_alone(tmp_path: Path) -> None:
    (half, _), _ = made("shared")
    path = kept(half, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="is there already"):
        half.save(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        LinearHalf.load(path)
    with pytest.raises(ConfigError, match="No such file"):
        LinearHalf.load(tmp_path / "none.json")
    assert repr(half) == "LinearHalf(guest, 01234567)"


def test_halves_of_two_models_do_not_score(tmp_path: Path) -> None:
    (one, _), _ = made("shared")
    (_, other), _ = made("shared", hosts=HOSTS + 1)
    guest, host = one.query(frames()[0]), other.query(frames(HOSTS + 1)[1])
    hello = guest.start()
    assert hello is not None
    with pytest.raises(ContextMismatchError, match="another model"):
        host.receive(hello)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused(data: st.DataObject, tmp_path: Path) -> None:
    (half, _), _ = made()
    path = tmp_path / "whole.json"
    if not path.exists():
        half.save(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                whole[:place],
                whole[:place] + b"0" + whole[place:],
                whole[:place] + whole[place + 1 :],
                whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
                whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :],
            ]
        )
    )
    with pytest.raises(DecodeError, match="take the file that training wrote"):
        LinearHalf.load(written(damaged, tmp_path))


CHANGES: dict[str, dict[str, Any]] = {
    "another role": {"role": "host"},
    "no role": {"role": "server"},
    "a field nobody knows": {"more": 1},
    "a longer model": {"model": "0" * 65},
    "letters in it": {"model": "g" * 64},
    "what is answered": {"answers": "everything"},
    "no coefficients": {"coefficients": None},
    "one too few": {"coefficients": [1, 2]},
    "one too large": {"coefficients": [1, 2, 1 << 40]},
    "shares as well": {"shares": [1, 2, 3]},
    "fractions": {"coefficients": [0.5, 1, 2]},
    "no ID": {"id_columns": []},
    "no label": {"label": None},
    "three classes": {"classes": ["no", "perhaps", "yes"]},
    "no unit": {"unit": 0.0},
    "an endless unit": {"unit": "Infinity"},
    "a whitening of other columns": {
        "whitening": {"matrix": [[1.0]], "format": "privfed vertical whitening 1"}
    },
    "another version of the whitening": {"whitening": {"matrix": [[1, 0], [0, 1]], "format": "2"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_halves_that_contradict_themselves_are_refused(change: str, tmp_path: Path) -> None:
    (half, _), _ = made()
    fields = json.loads(json_bytes(half))
    assert LinearHalf.load(written(sealed(fields), tmp_path)) == half
    with pytest.raises(DecodeError):
        LinearHalf.load(written(sealed(fields | CHANGES[change]), tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"guest_columns": 9},
        {"rows": -1},
        {"coefficients": "shared"},
        {"family": "none"},
        {"rows": 1 << 22},  # so many at once leave a sine no digits
        {"more": 1},
    ],
)
def test_plans_that_cannot_be_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    (half, _), _ = made()
    fields = json.loads(json_bytes(half))
    fields["plan"] |= change
    with pytest.raises(DecodeError):
        LinearHalf.load(written(sealed(fields), tmp_path))


def test_another_version_is_refused(tmp_path: Path) -> None:
    (half, _), _ = made()
    path = kept(half, tmp_path)
    later = path.read_bytes().replace(b"half 1", b"half 2")
    with pytest.raises(DecodeError):
        LinearHalf.load(written(later, tmp_path))


def test_classes_are_of_logistic_models_alone(tmp_path: Path) -> None:
    (half, _), _ = made()
    fields = json.loads(json_bytes(half)) | {"classes": []}
    fields["plan"]["family"] = "linear"
    assert LinearHalf.load(written(sealed(fields), tmp_path)).plan.family == "linear"
    with pytest.raises(DecodeError):
        LinearHalf.load(written(sealed(fields | {"answers": "class"}), tmp_path))
