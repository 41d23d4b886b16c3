"""Ten honest architectures train by the public API, and each of their rows counts for itself."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import opacus
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from privfed.dp import Noise, PrivacyPlan, SecretRandomness, SeededRandomness
from privfed.errors import ConfigError, PrivacyWarning
from privfed.training import AdamTrainer, DPSGDTrainer, GradientClipper, RecordGradients, get_arrays
from privfed.training.clipping import cross_entropy_by_row
from tests.training.models import (
    HONEST,
    ROWS,
    Attentive,
    Case,
    Recurrent,
    cnn,
    draw,
    head,
    honest,
    row_of,
)

CLIP = 0.5


def clipper(case: Case, **settings: Any) -> GradientClipper:
    return GradientClipper(
        case.model, case.features, case.labels, CLIP, public_rows=case.public_rows, **settings
    )


def plan(noise: Noise = "local", rate: float = 0.5) -> PrivacyPlan:
    return PrivacyPlan(
        noise=noise,
        rounds=3,
        rows=(ROWS,),
        sampling_rates=(rate,),
        steps_per_round=(1,),
        l2_clip_norm=CLIP,
        noise_multiplier=1.0,
        delta=1e-5,
        privacy_unit="one row",
        placements=((1,),),
        quorum=1,
    )


def by_loop(case: Case, batch: np.ndarray) -> np.ndarray:
    """The clipped sum by autograd on single rows, in float32 at least."""
    model = copy.deepcopy(case.model).eval()
    halved = next(model.parameters()).dtype == torch.bfloat16
    model = model.float() if halved else model
    trained = [p for p in model.parameters() if p.requires_grad]
    total = np.zeros(sum(p.numel() for p in trained))
    for i in np.flatnonzero(batch):
        row = row_of(case, int(i))
        loss = cross_entropy_by_row(model(row.float() if halved else row), case.classes[i : i + 1])
        gradients = torch.autograd.grad(loss.sum(), trained, materialize_grads=True)
        flat = torch.cat([g.flatten() for g in gradients]).double().numpy()
        total += flat * min(1.0, CLIP / (np.linalg.norm(flat) + 1e-6))
    return total


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_model_is_clipped_row_by_row(kind: str, strict: bool) -> None:
    case = honest(kind)
    made = clipper(case, strict=strict)
    assert made.method == case.method
    batch = np.arange(ROWS) % 3 > 0
    clipped = made.clipped_sum(batch).flat
    assert np.allclose(clipped, by_loop(case, batch), rtol=0, atol=1e-5)
    assert clipped.any()
    for row in (1, 8, 23):  # beside others and alone it adds the same, to the bit
        only = np.arange(ROWS) == row
        alone, without = made.clipped_sum(only).flat, made.clipped_sum(batch & ~only).flat
        assert np.array_equal(made.clipped_sum(batch | only).flat - without, alone)
        assert 0 < np.linalg.norm(alone) <= CLIP


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_model_trains(kind: str) -> None:
    case = honest(kind)
    settings = plan()
    trainer = DPSGDTrainer(
        case.features, case.labels, settings, 0, SeededRandomness(1), 0.01,
        simulation=True, public_rows=case.public_rows,
    )  # fmt: skip
    assert trainer.statement() == settings.statement()
    before, buffers = get_arrays(case.model), [b.clone() for b in case.model.buffers()]
    frozen = [name for name, each in case.model.named_parameters() if not each.requires_grad]
    trainer.train_epoch(case.model, 0)
    for name, array in get_arrays(case.model).items():
        assert np.array_equal(array, before[name]) == (name in frozen)
    assert all(map(torch.equal, buffers, case.model.buffers()))
    assert f"gradients by row: {case.method}, assuming that torch's kernels" in trainer.statement()


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_model_gives_its_part_of_a_sum(kind: str) -> None:
    case = honest(kind)
    party = RecordGradients(
        case.model, case.features, case.labels, plan("central", 1.0), 0, SecretRandomness(),
        public_rows=case.public_rows,
    )  # fmt: skip
    assert party.method == case.method
    assert party.statement().startswith(party.plan.statement())
    assert "assuming that torch's kernels round no row" in party.statement()
    wanted = by_loop(case, np.ones(ROWS, bool))
    assert np.allclose(party.contribute(1).flat, wanted, rtol=0, atol=1e-5)


def test_the_closed_form_assumes_nothing() -> None:
    model = nn.Sequential(nn.Linear(6, 2))
    party = RecordGradients(
        model, draw(6), torch.zeros(ROWS).long(), plan("central"), 0, SecretRandomness()
    )
    assert party.statement() == f"{party.plan.statement()}; gradients by row: closed form"


@pytest.mark.parametrize("kind", ["features by name", "Dataset", "LSTM"])
def test_plain_training_takes_the_same_rows(kind: str) -> None:
    case = honest(kind)
    before = get_arrays(case.model)
    trainer = AdamTrainer(case.features, case.labels, public_rows=case.public_rows)
    trainer.train_epoch(case.model, 0)
    after = get_arrays(case.model)
    assert all((array != before[name]).any() for name, array in after.items())


# --- What vmap does not take --------------------------------------------------------------------


class Branching(nn.Module):
    """Reads a number out of its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        if bool(torch.isnan(hidden).all()):
            hidden = hidden + 1
        scores: Tensor = self.last(hidden)
        return scores


class BranchingLSTM(Recurrent):
    def __init__(self) -> None:
        super().__init__(opacus.layers.DPLSTM)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (1 if bool(torch.isnan(x).all()) else 0)


def slower(kind: str) -> tuple[Case, str, str]:
    torch.manual_seed(0)
    if kind == "hooks":
        return head(Branching(), draw(6)), "opacus", ""
    if kind == "LSTM through hooks":
        return head(BranchingLSTM(), draw(5, 3)), "opacus", ""
    if kind == "alone":
        return head(Recurrent(nn.GRU), draw(5, 3)), "row by row", r"'cell' \(GRU\) has no per-row"
    return head(Branching(), draw(6)), "row by row", "each row is computed alone"


SLOW = ("hooks", "LSTM through hooks", "alone")


def slow(kind: str) -> tuple[Case, GradientClipper]:
    case, method, says = slower(kind)
    if says:
        with pytest.warns(PrivacyWarning, match=says):
            made = clipper(case, strict=kind == "strict")
    else:
        made = clipper(case)
    assert made.method == method
    return case, made


@pytest.mark.parametrize("kind", ["hooks", "LSTM through hooks", "alone", "strict"])
def test_what_vmap_does_not_take_goes_another_way(kind: str) -> None:
    case, made = slow(kind)
    state = [(m.training, sorted(vars(m))) for m in case.model.modules()]
    batch = np.arange(ROWS) % 3 > 0
    clipped = made.clipped_sum(batch).flat
    assert np.allclose(clipped, by_loop(case, batch), rtol=0, atol=1e-6)
    without = batch & (np.arange(ROWS) != 4)
    alone = made.clipped_sum(np.arange(ROWS) == 4).flat
    assert np.array_equal(clipped - made.clipped_sum(without).flat, alone)
    assert [(m.training, sorted(vars(m))) for m in case.model.modules()] == state
    assert all(p.grad is None and not vars(p) for p in case.model.parameters())
    assert ("take each row by itself" in made.assumption) == ("hooks" in kind)


# --- Rows that are not finite, or that the model does not take ------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("kind", [*SLOW, "LSTM", "features by name", "bfloat16"])
def test_rows_that_are_not_finite_add_exactly_nothing(kind: str, bad: float) -> None:
    """Whichever way is taken; a row that is only huge adds at most the clip norm."""
    case, made = slow(kind) if kind in SLOW else (honest(kind), None)
    features: Any = case.features["numbers"] if kind == "features by name" else case.features  # type: ignore[index]
    features[5].flatten()[1:3] = bad  # which is what the clipper looks at, too
    made = made or clipper(case)
    others = made.clipped_sum(np.arange(ROWS) != 5).flat
    whole = made.clipped_sum(np.ones(ROWS, bool)).flat
    alone = made.clipped_sum(np.arange(ROWS) == 5).flat
    assert others.any()
    assert np.array_equal(whole - others, alone)
    assert np.linalg.norm(alone) <= CLIP
    if bad != 1e30:
        assert not alone.any()
        assert np.array_equal(whole, others)


@pytest.mark.parametrize("kind", ["embeddings", "tied weights", "features by name"])
def test_an_id_that_no_table_has_adds_exactly_nothing(kind: str) -> None:
    """Whether a round runs would tell of it."""
    case = honest(kind)
    made = clipper(case)
    honest_sum = made.clipped_sum(np.arange(ROWS) != 5).flat
    column: Any = case.features["shop"] if kind == "features by name" else case.features  # type: ignore[index]
    column[5] = 1000
    made = clipper(case)
    assert np.array_equal(made.clipped_sum(np.ones(ROWS, bool)).flat, honest_sum)
    assert not made.clipped_sum(np.arange(ROWS) == 5).flat.any()


@pytest.mark.filterwarnings("ignore::privfed.errors.PrivacyWarning")  # slower, and said
@pytest.mark.parametrize("strict", [False, True])
def test_a_label_that_a_loss_leaves_out_ends_no_round(strict: bool) -> None:
    """The loss gives none for that row; whether a round runs would tell of it."""

    def ignoring(scores: Tensor, labels: Tensor) -> Tensor:
        known = labels >= 0
        return functional.cross_entropy(scores[known], labels[known], reduction="none")

    torch.manual_seed(0)
    features, labels = torch.randn(ROWS, 6), torch.randint(0, 2, (ROWS,))
    labels[5] = -1
    made = GradientClipper(
        nn.Linear(6, 2), features, labels, CLIP, row_losses=ignoring, strict=strict
    )
    assert made.method != "vmap"
    others = made.clipped_sum(np.arange(ROWS) != 5).flat
    assert np.array_equal(made.clipped_sum(np.ones(ROWS, bool)).flat, others)
    assert not made.clipped_sum(np.arange(ROWS) == 5).flat.any()


def test_a_model_that_fails_for_another_reason_is_an_error() -> None:
    """It fails on rows of no one, too: nobody's row is the reason."""
    case = honest("residual")
    made = clipper(case)
    case.model.inner = nn.Linear(3, 3)
    with pytest.raises(Exception, match="shape"):
        made.clipped_sum(np.ones(ROWS, bool))


# --- What surrounds a model ----------------------------------------------------------------------


def compiled() -> nn.Module:
    return torch.compile(nn.Sequential(nn.Linear(6, 2)))  # type: ignore[return-value]


def compiled_in_place() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 2))
    model.compile()
    return model


def by_opacus() -> nn.Module:
    wrapped: nn.Module = opacus.GradSampleModule(nn.Sequential(nn.Linear(6, 2)))
    return wrapped


def with_opacus_hooks() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 2))
    opacus.GradSampleModule(model)
    return model


def quantised() -> nn.Module:
    return nn.Sequential(torch.ao.nn.quantized.dynamic.Linear(6, 4), nn.Linear(4, 2))


def quantising() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 2)).train()
    model.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    prepared: nn.Module = torch.ao.quantization.prepare_qat(model)
    return prepared


def of_many_processes() -> nn.Module:
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        return nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(6, 2)))
    finally:
        distributed.destroy_process_group()


def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(6, 2)))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torch.compile": (compiled, r"compiled.*_orig_mod"),
    "compile()": (compiled_in_place, "compiled in place"),
    "Opacus": (by_opacus, r"GradSampleModule\).*to_standard_module"),
    "Opacus's hooks": (with_opacus_hooks, "Opacus's hooks: call to_standard_module"),
    "DataParallel": (lambda: nn.DataParallel(nn.Linear(6, 2)), r"\(DataParallel\).*model.module"),
    "DDP": (of_many_processes, r"\(DistributedDataParallel\).*model.module"),
    "quantised": (quantised, r"layer '0' \(Linear\) is quantised"),
    "to be quantised": (quantising, "keeps the range of what it sees"),
    "TorchScript": (scripted, "TorchScript"),
}


@pytest.mark.filterwarnings("ignore:.*(deprecated|reduce_range)")  # torch's, of what it quantises
@pytest.mark.parametrize("kind", REFUSED)
def test_what_hides_a_model_is_refused_by_name(kind: str) -> None:
    make, says = REFUSED[kind]
    with pytest.raises(ConfigError, match=says):
        GradientClipper(make(), draw(6), torch.zeros(ROWS).long(), CLIP)


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of lazy layers
        return nn.Sequential(nn.LazyLinear(2))


def complex_weight() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 2))
    model.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    return model


def gradient_hook() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 2))
    next(model.parameters()).register_hook(lambda gradient: 2 * gradient)
    return model


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lazy, "'0.weight' has no shape yet"),
        (complex_weight, "'phase' is complex.*view_as_real"),
        (gradient_hook, r"'0\.weight' has a hook on its gradient"),
        (lambda: nn.Sequential(nn.Linear(6, 2, device="meta")), "is on meta.*cpu"),
    ],
)
def test_a_parameter_without_row_gradients_is_named(
    make: Callable[[], nn.Module], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        GradientClipper(make(), draw(6), torch.zeros(ROWS).long(), CLIP)


@pytest.mark.parametrize("kind", ["transformer encoder", "hooks", "alone"])
def test_autocast_and_inference_mode_around_training_change_nothing(kind: str) -> None:
    if kind == "transformer encoder":
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            made = clipper(honest(kind))
    else:
        _, made = slow(kind)
    batch = np.arange(ROWS) % 2 == 0
    wanted = made.clipped_sum(batch).flat
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(made.clipped_sum(batch).flat, wanted)
    with torch.inference_mode():
        assert np.array_equal(made.clipped_sum(batch).flat, wanted)
    with torch.no_grad():
        assert np.array_equal(made.clipped_sum(batch).flat, wanted)


class Cast(nn.Module):
    """Autocast of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            scores: Tensor = self.last(torch.tanh(self.first(x)))
        return scores.float()


def test_autocast_of_the_models_own_is_what_the_model_says() -> None:
    case = head(Cast(), draw(6))
    made = clipper(case)
    batch = np.arange(ROWS) % 3 > 0
    clipped = made.clipped_sum(batch).flat
    assert np.allclose(clipped, by_loop(case, batch), rtol=0, atol=0.05)
    alone = made.clipped_sum(np.arange(ROWS) == 4).flat
    rest = made.clipped_sum(batch & (np.arange(ROWS) != 4)).flat
    assert np.array_equal(clipped - rest, alone)


class CastsItself(Cast):
    """Makes bfloat16 of its rows, whatever they are: float32 weights would not do."""

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(torch.tanh(self.first(x.to(torch.bfloat16))))
        return scores.float()


def test_a_model_that_takes_no_float32_is_computed_in_its_own_type() -> None:
    case = head(CastsItself().to(torch.bfloat16), draw(6))
    made = clipper(case)
    assert made.method == "opacus"
    only, batch = np.arange(ROWS) == 4, np.ones(ROWS, bool)
    alone = made.clipped_sum(only).flat
    assert np.array_equal(made.clipped_sum(batch).flat - made.clipped_sum(~only).flat, alone)
    assert 0 < np.linalg.norm(alone) <= CLIP


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    case = cnn()
    vars(case.model)["extra"] = threading.Lock()
    with pytest.raises(ConfigError, match="cannot be copied"):
        clipper(case)


def test_a_model_whose_scores_are_no_tensor_is_refused() -> None:
    class Pair(Attentive):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    with pytest.raises(ConfigError, match=r"returns a tuple.*wrap the model"):
        clipper(head(Pair(), draw(5, 3)))
