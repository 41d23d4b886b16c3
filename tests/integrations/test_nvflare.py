"""NVFlare's adapter in a job of one process: what arrives, what a server sees, what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvflare.apis.dxo import from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.np.np_model_persistor import NPModelPersistor
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.fuel.utils import fobs
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.defs import FilterType
from nvflare.recipe.fedavg import FedAvgRecipe

from privfed.errors import (
    ConfigError,
    ContextMismatchError,
    DecodeError,
    PeerError,
    PrivFedError,
    QuorumError,
)
from privfed.integrations import simulated_keys, trained_model
from privfed.integrations.nvflare import (
    CheckpointPersistor,
    DecryptModel,
    EncryptedAggregator,
    EncryptModel,
)
from privfed.integrations.nvflare.persistor import read_start
from privfed.integrations.nvflare.records import (
    CHECKPOINT,
    UPLOAD,
    answer_in,
    bytes_array,
    read_request,
)
from privfed.integrations.spool import read_checkpoint, write_checkpoint
from tests.integrations.nvflare_job import (
    Job,
    Killed,
    Script,
    Site,
    data_of,
    encrypted_sites,
    with_data,
)

MODEL = {
    "w": np.linspace(-1, 1, 40).astype(np.float32),
    "steps": np.array(3),
}
NAMES = ("site-1", "site-2", "site-3")
MOVES = {"site-1": 0.25, "site-2": -0.5, "site-3": 1.0}
ROWS = {"site-1": 30, "site-2": 50, "site-3": 77}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of three sites and of six, which are two groups."""
    folder = tmp_path_factory.mktemp("keys")
    simulated_keys(folder / "three", MODEL, parties=NAMES, max_weight=100)
    six = [f"site-{place}" for place in range(1, 7)]
    simulated_keys(folder / "six", MODEL, parties=six, max_weight=100)
    return folder


@pytest.fixture
def keys(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys of three sites, in use."""
    return used("three", made, tmp_path, monkeypatch)


def used(which: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    shutil.copytree(made / which, folder)
    monkeypatch.setenv("PRIVFED_KEYS", str(folder))
    np.savez(tmp_path / "start.npz", w=MODEL["w"], steps=MODEL["steps"])
    (tmp_path / "start.npz").rename(tmp_path / "start")
    return folder


def script(name: str) -> Script:
    """Train: move all weights by the site's own step."""

    def train(model: FLModel) -> FLModel:
        params = {"w": model.params["w"] + MOVES.get(name, 0.5), "steps": model.params["steps"] + 1}
        meta = {"NUM_STEPS_CURRENT_ROUND": ROWS.get(name, 10)}
        return FLModel(params=params, metrics={"loss": 0.125, "secret-metric": 1.0}, meta=meta)

    return train


def sites(names: tuple[str, ...] = NAMES, run: str = "job") -> list[Site]:
    return encrypted_sites(names, [script(name) for name in names], run)


def after(rounds: int) -> np.ndarray[Any, Any]:
    """What FedAvg gives in the clear."""
    mean = sum(MOVES[name] * ROWS[name] for name in NAMES) / sum(ROWS.values())
    return np.asarray(MODEL["w"] + rounds * mean)


# -- what arrives ----------------------------------------------------------------------------------


def test_all_parties_have_the_mean_that_the_server_never_sees(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 2)
    job.play()
    models = [trained_model(keys / name) for name in NAMES]
    for each in models:
        assert each["w"].tobytes() == models[0]["w"].tobytes()
        np.testing.assert_allclose(each["w"], after(2), atol=0.02)  # 16 bits of 8, with weights
        assert each["steps"] == 5  # its own: integers do not travel
    seen = b"".join(job.seen)
    for hidden in (b"secret-metric", b"loss", b"NUM_STEPS", models[0]["w"].tobytes()[:16]):
        assert hidden not in seen
    for name in NAMES:  # an upload of the first round, in the clear
        assert (MODEL["w"] + MOVES[name]).astype(np.float32).tobytes()[:16] not in seen


def test_without_filters_a_result_holds_what_is_looked_for_above() -> None:
    name = "site-1"
    result = Site(name, script(name), [], []).done("train", plain_task())
    assert data_of(result)["w"].tobytes() == (MODEL["w"] + np.float32(0.25)).tobytes()
    assert from_shareable(result).meta["NUM_STEPS_CURRENT_ROUND"] == ROWS[name]
    assert b"secret-metric" in fobs.dumps(result)


def plain_task() -> Shareable:
    return FLModelUtils.to_shareable(FLModel(params=dict(MODEL), params_type=ParamsType.FULL))


def test_metrics_that_parties_reveal_are_averaged(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFED_REVEAL", "loss, accuracy")
    aggregator = EncryptedAggregator(patience_seconds=0.0)
    told: list[FLModel] = []
    aggregated = aggregator.aggregate_model

    def told_by_it() -> FLModel:
        told.append(aggregated())
        return told[-1]

    monkeypatch.setattr(aggregator, "aggregate_model", told_by_it)
    job = Job(tmp_path, sites(), 1, aggregator)
    job.play()
    assert told[0].metrics == {"loss": 0.125}
    assert b"secret-metric" not in b"".join(job.seen)


def test_a_checkpoint_begins_a_later_job(keys: Path, tmp_path: Path) -> None:
    checkpoint = Job(tmp_path, sites(), 1).play()
    shutil.copy(checkpoint, tmp_path / "first")
    for site in NAMES:  # a later job has another id, and begins in new processes
        assert trained_model(keys / site)["steps"] == 4
    Job(tmp_path, sites(run="later"), 1, start="first").play()
    np.testing.assert_allclose(trained_model(keys / "site-2")["w"], after(2), atol=0.02)


def test_a_site_that_dies_takes_its_group_along_and_comes_back(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = used("six", made, tmp_path, monkeypatch)
    names = tuple(f"site-{place}" for place in range(1, 7))
    rounds = []

    def dies(model: FLModel) -> FLModel:
        rounds.append(model.current_round)
        if len(rounds) == 2:
            raise Killed
        return script("site-6")(model)

    every = encrypted_sites(names, [*(script(name) for name in names[:5]), dies])
    job = Job(tmp_path, every, 4)
    begun = job.send_model

    def revive(*args: Any, **more: Any) -> None:
        begun(*args, **more)
        if more["data"].current_round == 2:
            job.dead.clear()

    monkeypatch.setattr(job, "send_model", revive)
    job.play()
    assert rounds == [0, 1, 3]  # in round 2 its group waits; then it opens what it missed
    assert not job.panics
    models = [trained_model(folder / name)["w"].tobytes() for name in names]
    assert len(set(models)) == 1


def test_a_later_job_goes_on_without_a_party(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = used("six", made, tmp_path, monkeypatch)
    names = tuple(f"site-{place}" for place in range(1, 7))
    checkpoint = Job(tmp_path, sites(names), 1).play()
    shutil.copy(checkpoint, tmp_path / "first")
    job = Job(tmp_path, sites(names[:5], run="missed"), 1, start="first")
    refused(job, QuorumError, "1 of 6 parties did not say hello")
    goes_on = EncryptedAggregator(may_miss=True, patience_seconds=0.0)
    later = sites(names[:5], run="later")
    Job(tmp_path, later, 2, goes_on, start="first").play()
    models = [trained_model(folder / name)["w"].tobytes() for name in names]
    assert len(set(models[:5])) == 1 != len(set(models))  # two waited, and have the model as well


# -- what is refused -------------------------------------------------------------------------------


def refused(job: Job, kind: type[BaseException], match: str) -> None:
    """Play a job that must fail; no total is written that was not checked."""
    with pytest.raises(kind, match=match):
        job.play()


def test_a_party_without_keys(keys: Path, tmp_path: Path) -> None:
    shutil.rmtree(keys / "site-2")
    refused(Job(tmp_path, sites(), 1), PeerError, "site-2 refused with ConfigError")


def test_no_keys_are_set(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("PRIVFED_KEYS")
    refused(Job(tmp_path, sites(), 1), PeerError, "refused with ConfigError")
    assert "this client has no keys: set PRIVFED_KEYS" in caplog.text


def test_other_parameters(keys: Path, tmp_path: Path) -> None:
    other = {name: f"other-{name}" for name in NAMES}
    simulated_keys(tmp_path, MODEL, parties=list(other.values()), max_weight=99)
    shutil.rmtree(keys / "site-3")
    shutil.move(tmp_path / "other-site-3", keys / "site-3")
    refused(Job(tmp_path, sites(), 1), PrivFedError, "all parties take the same file")


def test_a_party_left_out(keys: Path, tmp_path: Path) -> None:
    refused(Job(tmp_path, sites(NAMES[:2]), 1), QuorumError, "1 of 3 parties did not say hello")


def test_a_site_without_privfed(keys: Path, tmp_path: Path) -> None:
    every = [*sites(NAMES[:2]), Site("site-3", script("site-3"), [], [])]
    job = Job(tmp_path, every, 1)
    refused(job, QuorumError, "did not say hello")
    assert (MODEL["w"] + MOVES["site-3"]).tobytes()[:16] not in b"".join(job.seen)


class Noisy(Filter):  # type: ignore[misc]
    """Somebody's filter, which changes arrays."""

    def process(self, shareable: Shareable, fl_ctx: Any) -> Shareable:
        data = data_of(shareable)
        data = {name: np.asarray(each + each.dtype.type(1)) for name, each in data.items()}
        return with_data(shareable, data)


class Anew(Noisy):
    """One that makes a result of its own."""

    def process(self, shareable: Shareable, fl_ctx: Any) -> Shareable:
        return super().process(copy.deepcopy(shareable), fl_ctx)


@pytest.mark.parametrize(
    ("before", "after_it", "match"),
    [
        ([Noisy(), DecryptModel()], [EncryptModel()], "TASK_DATA_FILTER_ERROR"),
        ([DecryptModel()], [EncryptModel(), Noisy()], "changed on its way"),
        ([DecryptModel()], [EncryptModel(), Anew()], "TASK_RESULT_FILTER_ERROR"),
        ([DecryptModel()], [EncryptModel(), EncryptModel()], "refused with ConfigError"),
        ([DecryptModel()], [], "TASK_RESULT_FILTER_ERROR"),
    ],
    ids=["before", "changes", "anew", "twice", "none"],
)
def test_filters_in_another_order(
    keys: Path, tmp_path: Path, before: list[Filter], after_it: list[Filter], match: str
) -> None:
    every = [*sites(NAMES[:2]), Site("site-3", script("site-3"), before, after_it)]
    job = Job(tmp_path, every, 1)
    refused(job, (AssertionError, PrivFedError), match)  # type: ignore[arg-type]
    assert (MODEL["w"] + MOVES["site-3"]).tobytes()[:16] not in b"".join(job.seen)
    assert not (tmp_path / "models").exists()


def test_filters_within_are_the_applications_own(keys: Path, tmp_path: Path) -> None:
    every = [
        *sites(NAMES[:2]),
        Site("site-3", script("site-3"), [DecryptModel(), Noisy()], [Noisy(), EncryptModel()]),
    ]
    Job(tmp_path, every, 1).play()
    moved = after(1) + 2 * ROWS["site-3"] / sum(ROWS.values())
    np.testing.assert_allclose(trained_model(keys / "site-1")["w"], moved, atol=0.02)


@pytest.mark.parametrize("task", ["validate", "submit_model", "train_more"])
def test_a_result_of_another_task_is_held_back(keys: Path, tmp_path: Path, task: str) -> None:
    site = sites()[0]
    result = site.done(task, plain_task())
    assert result.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR
    assert "DXO" not in result


@pytest.mark.parametrize(
    ("before", "after_it", "task"),
    [([], [EncryptModel()], "train"), ([DecryptModel()], [EncryptModel()], "validate")],
)
def test_an_error_with_a_model_in_it_leaves_without(
    keys: Path, before: list[Filter], after_it: list[Filter], task: str
) -> None:
    def fails(model: FLModel) -> Shareable:
        result = plain_task()
        result.set_return_code(ReturnCode.EXECUTION_EXCEPTION)
        return result

    result = Site("site-1", fails, before, after_it).done(task, plain_task())
    assert result.get_return_code() == ReturnCode.EXECUTION_EXCEPTION
    assert "DXO" not in result


def test_an_aggregator_in_the_clear_gets_nothing(keys: Path, tmp_path: Path) -> None:
    result = sites()[0].done("train", plain_task())
    assert result.get_return_code() == ReturnCode.TASK_DATA_FILTER_ERROR


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        (FLModel(params={"w": MODEL["w"]}, params_type=ParamsType.DIFF), "sends differences"),
        (FLModel(params={}, params_type=ParamsType.FULL), "model is empty: arrays of numpy need"),
        (FLModel(metrics={"loss": 1.0}), "sends differences or figures"),
        (FLModel(params=MODEL), "say how much this party counts"),
        (FLModel(params={"other": MODEL["w"]}), "arrays are not the model's"),
        (FLModel(params={"w": [1.0] * 40}), "is a list, none of numpy's"),
    ],
    ids=["differences", "empty", "figures", "no weight", "others", "no arrays"],
)
def test_a_script_that_sends_something_else(
    keys: Path, tmp_path: Path, returned: FLModel, match: str, caplog: pytest.LogCaptureFixture
) -> None:
    every = encrypted_sites(NAMES, [script("site-1"), script("site-2"), lambda model: returned])
    refused(Job(tmp_path, every, 1), PeerError, "site-3 .* refused with ConfigError")
    assert match in caplog.text


def test_values_past_the_clip_range(keys: Path, tmp_path: Path) -> None:
    def far(model: FLModel) -> FLModel:
        trained = script("site-3")(model)
        trained.params["w"] = trained.params["w"] * 100
        return trained

    every = encrypted_sites(NAMES, [script("site-1"), script("site-2"), far])
    refused(Job(tmp_path, every, 1), PeerError, "site-3 .* refused with CapacityError")


def test_a_script_that_fails_sends_nothing(keys: Path, tmp_path: Path) -> None:
    def fails(model: FLModel) -> FLModel:
        raise ValueError(model.params["w"])

    every = encrypted_sites(NAMES, [script("site-1"), script("site-2"), fails])
    refused(Job(tmp_path, every, 1), AssertionError, "site-3: EXECUTION_EXCEPTION")


@pytest.mark.parametrize("weight", [2.5, "many", float("nan"), float("inf")])
def test_a_weight_that_is_no_whole_number(keys: Path, tmp_path: Path, weight: object) -> None:
    def weighs(model: FLModel) -> FLModel:
        trained = script("site-3")(model)
        trained.meta["NUM_STEPS_CURRENT_ROUND"] = weight
        return trained

    every = encrypted_sites(NAMES, [script("site-1"), script("site-2"), weighs])
    refused(Job(tmp_path, every, 1), PeerError, "site-3 .* refused with ConfigError")


def test_a_recipe_with_another_persistor(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 1, persistor=NPModelPersistor())
    with job.new_context() as fl_ctx:
        fl_ctx.set_prop("global_model", {"weights": MODEL}, private=True, sticky=True)
    job.load_model = lambda: FLModel(params=MODEL, params_type=ParamsType.FULL)
    refused(job, ConfigError, "model_persistor=CheckpointPersistor")


def test_every_round_asks_all_clients(keys: Path, tmp_path: Path) -> None:
    """NVFlare's would choose a random subset of `min_clients`, and leave groups out."""
    job = Job(tmp_path, sites(), 1)
    job.num_clients = 2
    job.play()
    np.testing.assert_allclose(trained_model(keys / "site-1")["w"], after(1), atol=0.02)


# -- a hostile server ------------------------------------------------------------------------------


def altered(total: bytes) -> bytes:
    """Return a total of another sum; a lowest bit alone is rounded away (see `cover_c0`)."""
    return total[:-64] + bytes(each ^ 0xFF for each in total[-64:])


def altered_task(name: str, task: Shareable) -> Shareable:
    data = data_of(task)
    if CHECKPOINT in data:
        of, total = read_checkpoint(data[CHECKPOINT].tobytes())
        return with_data(task, {CHECKPOINT: bytes_array(write_checkpoint(of, altered(total)))})
    return task


def test_an_altered_total(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 2)
    job.to_site = altered_task
    refused(job, AssertionError, "site-1: TASK_DATA_FILTER_ERROR")


def test_an_altered_last_total(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 1)

    def change(name: str, request: Shareable) -> Shareable:
        for place, total in enumerate(read_request(request)[1]):
            request["totals"][place] = bytes_array(altered(total))
        return request

    job.aux = change
    refused(job, AssertionError, "refused with (AuthenticationError|DecodeError)")


def test_another_model_for_one_party(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 1)

    def other(name: str, task: Shareable) -> Shareable:
        if name == "site-2":
            return with_data(task, MODEL | {"w": np.zeros(40, np.float32)})
        return task

    job.to_site = other
    refused(job, AssertionError, "site-2: TASK_DATA_FILTER_ERROR")


def test_a_round_that_is_numbered_otherwise_for_one_party(keys: Path, tmp_path: Path) -> None:
    """By which a script may set its rate, to 0 in the last of many."""
    job = Job(tmp_path, sites(), 1)

    def late(name: str, task: Shareable) -> Shareable:
        if name == "site-2":
            task.set_header("current_round", 1_000_000)
        return task

    job.to_site = late
    refused(job, ContextMismatchError, "different settings for the round")


def test_one_partys_upload_as_the_sum(keys: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, sites(), 2)
    uploads = []

    def note(name: str, result: Shareable) -> Shareable:
        if result.get_return_code() == ReturnCode.OK:
            uploads.append(data_of(result)[UPLOAD].tobytes())
        return result

    def one(name: str, task: Shareable) -> Shareable:
        data = data_of(task)
        if CHECKPOINT in data:
            of, _ = read_checkpoint(data[CHECKPOINT].tobytes())
            return with_data(task, {CHECKPOINT: bytes_array(write_checkpoint(of, uploads[0]))})
        return task

    job.from_site, job.to_site = note, one
    refused(job, AssertionError, "TASK_DATA_FILTER_ERROR")


def test_a_round_is_not_sent_twice(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that asks for a round again, to subtract what it got from what it gets."""
    job = Job(tmp_path, sites(), 1)
    again: list[Callable[[], Shareable]] = []
    asks: dict[str, Shareable] = {}

    def note(name: str, request: Shareable) -> Shareable:
        asks[name] = request
        return request

    def keep(name: str, task: Shareable) -> Shareable:
        copied = copy.deepcopy(task)
        again.append(lambda: job.sites[name].done("train", copied))
        return task

    job.aux, job.to_site = note, keep
    begun = job.send_model

    def twice(*args: Any, **more: Any) -> None:
        begun(*args, **more)
        assert again[0]().get_return_code() == ReturnCode.TASK_DATA_FILTER_ERROR  # nobody asked
        job.sites["site-1"].asked("privfed", asks["site-1"])
        assert again[0]().get_return_code() == ReturnCode.TASK_DATA_FILTER_ERROR  # sent before

    monkeypatch.setattr(job, "send_model", twice)
    job.play()


def test_messages_that_are_none(keys: Path) -> None:
    site = sites()[0]
    for request in (Shareable(), _request(b"x", []), _request(b"x", [np.zeros(2)], {"w": "no"})):
        answer = answer_in(site.asked("privfed", request))
        assert answer is not None
        assert b"DecodeError" in answer or b"ConfigError" in answer


def _request(message: bytes, totals: list[Any], initial: object = None) -> Shareable:
    request = Shareable()
    request["message"], request["totals"] = message, totals
    if initial is not None:
        request["initial"] = initial
    return request


# -- files, and what a recipe is told --------------------------------------------------------------


def test_what_a_job_starts_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        read_start(tmp_path / "none")
    (tmp_path / "text").write_text("nothing of the kind")
    with pytest.raises(DecodeError, match="neither a model"):
        read_start(tmp_path / "text")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ConfigError, match="other than arrays of numbers"):
        read_start(tmp_path / "objects.npz")


@pytest.mark.parametrize(
    ("part", "direction", "tasks", "match"),
    [
        (DecryptModel(), FilterType.TASK_DATA, ["*"], "is for tasks"),
        (DecryptModel(), FilterType.TASK_RESULT, None, "input filter"),
        (EncryptModel(), FilterType.TASK_DATA, ["train"], "output filter"),
        (EncryptModel(), FilterType.TASK_RESULT, ["train", "validate"], "is for tasks"),
    ],
)
def test_filters_that_nvflare_would_never_call(
    part: Any, direction: str, tasks: list[str] | None, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        part.add_to_fed_job(None, None, filter_type=direction, tasks=tasks)
    with pytest.raises(ConfigError, match="travels is"):
        DecryptModel("sums")  # type: ignore[arg-type]


def test_what_a_recipe_makes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's files: parts in their places, the initial model, and no setting of a site."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRIVFED_KEYS", "/home/site/keyring")
    np.savez(tmp_path / "start.npz", w=MODEL["w"])
    (tmp_path / "client.py").touch()
    recipe = FedAvgRecipe(
        name="job",
        min_clients=3,
        train_script="client.py",
        framework=FrameworkType.NUMPY,
        model_persistor=CheckpointPersistor("start.npz"),
        aggregator=EncryptedAggregator(may_miss=True),
    )
    recipe.add_client_input_filter(DecryptModel(travels="updates"))
    recipe.add_client_output_filter(EncryptModel())
    recipe.export(str(tmp_path / "out"))
    files = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "start.npz" in files
    client = json.loads(files["config_fed_client.json"].read_text())
    room = "privfed.integrations.nvflare"
    assert client["task_data_filters"] == [
        {
            "tasks": ["train"],
            "filters": [{"path": f"{room}.filters.DecryptModel", "args": {"travels": "updates"}}],
        }
    ]
    assert client["task_result_filters"][0]["tasks"] == ["train"]
    server = files["config_fed_server.json"].read_text()
    assert f"{room}.aggregator.EncryptedAggregator" in server
    assert '"start": "start.npz"' in server
    assert not any(b"/home/site" in path.read_bytes() for path in files.values())
