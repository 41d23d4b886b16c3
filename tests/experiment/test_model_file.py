"""A model goes to disk and back bit for bit, and what is no model is told so."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privfed.data import surrogate_tables
from privfed.errors import ConfigError
from privfed.experiment import SavedModel, load_model, predict, save_model
from privfed.training import (
    get_arrays,
    initial_model,
    log_probabilities,
    paper_network,
    weights_sha256,
)
from tests.experiment.mini import surrogate


def trained(classes: int = 2) -> SavedModel:
    model = initial_model(lambda: paper_network(12, classes), 1)
    names = surrogate().class_names if classes == 2 else tuple(map(str, range(classes)))
    return SavedModel(get_arrays(model), surrogate().encoder, names, "the surrogate, by a test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_model(tmp_path / "models" / "m.npz", trained())
    return tmp_path / "models" / "m.npz"


def test_round_trip(path: Path) -> None:
    found, wanted = load_model(path), trained()
    assert weights_sha256(found.arrays) == weights_sha256(wanted.arrays)
    assert found.encoder == wanted.encoder
    assert (found.class_names, found.trained_on) == (wanted.class_names, wanted.trained_on)
    assert [file.name for file in path.parent.iterdir()] == ["m.npz"]


def test_a_failed_write_leaves_the_old_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(file: io.BufferedWriter, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ConfigError, match="No space left"):
        save_model(path, trained())
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["m.npz"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(ConfigError, match="choose another folder"):
        save_model(tmp_path / "models" / "m.npz", trained())


def refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a model that this version") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def with_arrays(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(path, **arrays)


def header(arrays: dict[str, Any], **changes: Any) -> None:
    arrays["header"] = np.array(json.dumps(json.loads(str(arrays["header"])) | changes))


class Bomb:
    """What runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("exploded"), "boom")


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "array missing": lambda a: a.pop("weights:5.bias"),
    "array too many": lambda a: a.update(further=np.zeros(3, np.float32)),
    "array of another shape": lambda a: a.update({"weights:0.bias": np.zeros(1, np.float32)}),
    "array of another type": lambda a: a.update({"weights:0.bias": np.zeros(128)}),
    "array of text": lambda a: a.update({"weights:0.bias": np.full(128, "x")}),
    "array of nothing": lambda a: a.update({"weights:0.bias": np.full(128, np.nan, np.float32)}),
    "array of infinities": lambda a: a.update({"weights:0.bias": np.full(128, np.inf, np.float32)}),
    "pickle inside": lambda a: a.update({"weights:0.bias": np.array([Bomb()] * 128, dtype=object)}),
    "pickled header": lambda a: a.update(header=np.array([Bomb()], dtype=object)),
    "no header": lambda a: a.pop("header"),
    "header of numbers": lambda a: a.update(header=np.zeros(3)),
    "header of no JSON": lambda a: a.update(header=np.array("{")),
    "header too deep": lambda a: a.update(header=np.array("[" * 100_000)),
    "another version": lambda a: header(a, format="privfed model 3"),
    "the first version with other names": lambda a: header(a, format="privfed model 1"),
    "an array of the first version": lambda a: a.update({"0.bias": a.pop("weights:0.bias")}),
    "code that is none": lambda a: header(a, model="own models"),
    "another loss": lambda a: header(a, loss="hinge"),
    "one class too many": lambda a: header(a, class_names=["a", "b", "c"]),
    "no classes": lambda a: header(a, class_names=None),
    "no encoder": lambda a: header(a, encoder=None),
    "another encoder": lambda a: header(a, encoder="{}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_another_program_may_have_written(
    path: Path, change: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with_arrays(path, change)
    refused(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x05\x06" + bytes(18),  # an empty archive
        b"\x93NUMPY\x01\x00v\x00{}",
        b"0123456789" * 1000,
        pickle.dumps({"a": 1}),
        pickle.dumps(Bomb()),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.npz").write_bytes(content)
    refused(tmp_path / "m.npz")
    assert not Path("exploded").exists()


def test_a_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save(paper_network(12, 2).state_dict(), tmp_path / "m.npz")
    refused(tmp_path / "m.npz")


def test_an_archive_that_swells_is_not_unpacked(path: Path) -> None:
    with_arrays(path, lambda a: a.update({"weights:0.bias": np.zeros(2**25, np.float32)}))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez_compressed(path, **arrays)
    assert path.stat().st_size < 2**20
    refused(path)


def test_what_save_model_would_not_compress_is_refused(path: Path) -> None:
    """So no compressed member is ever unpacked, whatever size it claims."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez_compressed(path, **arrays)
    refused(path)


def test_members_that_share_bytes_are_more_than_the_file(path: Path) -> None:
    """Their sizes are bounded by the file's: none is larger, and none is read twice."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
        archive.filelist += [archive.getinfo("weights:3.weight.npy")] * 4
    refused(path)


def test_a_header_that_asks_for_more_than_there_is(path: Path, tmp_path: Path) -> None:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"
    npy = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "n.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, npy if name == "weights:0.bias.npy" else old.read(name))
    refused(tmp_path / "n.npz")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_refused_or_harmless(path: Path, data: st.DataObject) -> None:
    """ZIP's checksums cover the arrays; what else breaks must break as a ConfigError."""
    whole = path.read_bytes()
    place = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(whole) - 1)))
    if data.draw(st.booleans()):
        damaged = whole[:place]
    else:
        damaged = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        damaged += whole[place + 1 :]
    other = path.with_name("damaged.npz")
    other.write_bytes(damaged)
    with contextlib.suppress(ConfigError):
        assert weights_sha256(load_model(other).arrays) == weights_sha256(trained().arrays)


@pytest.mark.parametrize("place", ["absent.npz", "."])
def test_no_file_there(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="there is no model at"):
        load_model(tmp_path / place)


def test_predictions_are_the_networks(path: Path, tmp_path: Path) -> None:
    rows = surrogate_tables()[0]
    rows.drop(columns="Recommendation").to_csv(tmp_path / "new.csv", index=False)
    found = predict(load_model(path), tmp_path / "new.csv")
    network = trained().network().eval()
    with torch.no_grad():
        sigmoid = torch.sigmoid(network(torch.from_numpy(surrogate().features)))
    wanted = (sigmoid / sigmoid.sum(dim=1, keepdim=True)).numpy()
    assert np.allclose(found.probabilities, wanted, atol=1e-6)
    assert found.classes == tuple(surrogate().class_names[i] for i in wanted.argmax(axis=1))
    assert found.ids == tuple(rows["Dress_ID"])
    assert found.unseen == ()


def test_a_centred_model_predicts_as_it_was_trained(tmp_path: Path) -> None:
    """What its training saw of a row is what it sees of the row in a file, whatever the network."""
    centred = surrogate().centred()
    model = trained()
    model = SavedModel(model.arrays, centred.encoder, model.class_names, model.trained_on)
    save_model(tmp_path / "m.npz", model)
    rows = surrogate_tables()[0].drop(columns="Recommendation")
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = load_model(tmp_path / "m.npz")
    assert found.encoder.centred
    features, _ = found.encoder.encode(rows)
    assert np.array_equal(features, centred.features)
    network = trained().network().eval()
    with torch.inference_mode():
        wanted = log_probabilities(network(torch.from_numpy(centred.features))).exp().numpy()
        others = log_probabilities(network(torch.from_numpy(surrogate().features))).exp().numpy()
    probabilities = predict(found, tmp_path / "new.csv").probabilities
    assert np.array_equal(probabilities, wanted)
    assert not np.allclose(probabilities, others, atol=1e-3)


def test_predictions_tell_unseen_values_and_need_no_ids(path: Path, tmp_path: Path) -> None:
    rows = surrogate_tables()[0].head(3).drop(columns=["Dress_ID", "Recommendation"])
    rows.loc[1, "Style"] = "steampunk"
    rows.loc[2, "Rating"] = "7"
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = predict(load_model(path), tmp_path / "new.csv")
    assert found.ids is None
    assert found.unseen == ((1, "Style", "steampunk"), (2, "Rating", "7"))
