"""What users of the distribution may rely on: names, errors, and imports that stay light."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import privfed
import privfed.errors
import psi.errors

EXPORTS = {
    "privfed.audit": [
        *("CHECKS", "AuditResults", "AuditSettings", "Check", "Checked", "Detection"),
        *("LowerBound", "Verdict", "epsilon_lower_bound", "run_audit"),
    ],
    "privfed.dp": [
        *("FixedRuns", "Noise", "NoiseShares", "Placement", "PrivacyBudget", "PrivacyPlan"),
        *("RandomRuns", "SecretRandomness", "SeededRandomness", "TunedPlan", "UnitPlacements"),
        *("calibrate", "calibrate_noise_multiplier", "calibrate_tuning", "discrete_gaussian"),
        *("dominating_variance", "domination_gap", "dp_sgd_epsilon", "placements_from_ids"),
    ],
    "privfed.garbled": [
        *("Circuit", "CircuitBuilder", "Evaluated", "Evaluator", "Garbler", "Lengths", "Numbers"),
        *("TransferReceiver", "TransferSender", "Wire", "Word", "gadgets"),
    ],
    "privfed.he": [
        *("MAX_BITS", "MODULUS", "MODULUS_BITS", "RING_DEGREE", "Integers", "Packing", "Words"),
        *("choose", "choose_slots", "pack", "planes", "rlwe", "seal", "unpack"),
    ],
    "privfed.keys": [
        *("ID_BYTES", "SIGNATURE_BYTES", "Identity", "PublicIdentity", "SecretKey", "derive"),
        *("generate_identity", "is_secret", "load_secret", "save_secret"),
    ],
    "privfed.training": [
        *("AdamTrainer", "AdaptiveClip", "Arrays", "Averaged", "Averaging", "Best"),
        *(
            "CentralNoise",
            "ClientUpdates",
            "ClippedSum",
            "Contributor",
            "DPSGDTrainer",
            "Evaluation",
            "Exchange",
        ),
        *("FixedClip", "FloatAveraging", "GradientClipper", "LocalNoise", "LocalTrainer"),
        *("NoisySums", "RecordGradients", "Released", "SecureAveraging", "SharedNoise"),
        *("adam_reach", "evaluate", "get_arrays", "initial_model", "log_probabilities"),
        *("one_thread", "paper_network", "private_mean", "set_arrays", "share_parameters"),
        *("train_alone", "train_federated", "train_private", "tune_private", "weights_sha256"),
    ],
    "privfed.experiment": [
        *("BESIDE", "Aligner", "Arm", "Benchmark", "Forecast", "Job", "Overlap", "Prediction"),
        *("PrivacyCost", "Results", "Run", "SavedModel", "Settings", "Summary", "choose_arms"),
        *("forecast", "jobs", "load_model", "party_names", "predict", "prepare_benchmark"),
        *("provenance", "run_benchmark", "save_model", "settings_beside", "usual_private_model"),
    ],
    "privfed.integrations": [
        *("EmbeddedParty", "EmbeddedServer", "simulated_keys", "trained_model"),
    ],
    "privfed.partner": ["Plan", "PlanParty"],
}
PINNED_IN_THEIR_ROOMS = {"privfed.data", "privfed.report", "privfed.secagg", "psi"}


@pytest.mark.parametrize("package", EXPORTS)
def test_exports_are_pinned(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == EXPORTS[package]
    assert all(hasattr(module, name) for name in EXPORTS[package])


def test_no_package_is_forgotten() -> None:
    found = {"psi"} | {
        f"privfed.{module.name}"
        for module in pkgutil.iter_modules(privfed.__path__)
        if module.ispkg and hasattr(importlib.import_module(f"privfed.{module.name}"), "__all__")
    }
    assert found == EXPORTS.keys() | PINNED_IN_THEIR_ROOMS


def test_privfed_itself_holds_its_version_and_nothing_else() -> None:
    names = {
        name
        for name, value in vars(privfed).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert names == set()
    assert privfed.__version__ == importlib.metadata.version("privfed")


def drawing(error: type[Exception], module: str, indent: str = "") -> Iterator[str]:
    """Draw the classes below `error` that its module defines, in their order there."""
    below = [sub for sub in error.__subclasses__() if sub.__module__ == module]
    for sub in below:
        last = sub is below[-1]
        further = [f" (also {base.__name__})" for base in sub.__bases__ if base is not error]
        yield f"{indent}{'└── ' if last else '├── '}{sub.__name__}{''.join(further)}"
        yield from drawing(sub, module, indent + ("    " if last else "│   "))


@pytest.mark.parametrize(
    ("module", "root"),
    [(privfed.errors, privfed.errors.PrivFedError), (psi.errors, psi.errors.PSIError)],
)
def test_the_error_tree_is_the_one_drawn(module: ModuleType, root: type[Exception]) -> None:
    assert module.__doc__ is not None
    _, _, drawn = module.__doc__.partition("\n\n")
    names = [re.split(r"(?<=[\w)])\s{2,}", line)[0].rstrip() for line in drawn.strip().split("\n")]
    assert names == [root.__name__, *drawing(root, module.__name__)]
    assert all("  " in line for line in drawn.strip().split("\n")[1:])  # each with its meaning
    assert root.__bases__ == (Exception,)


_HEAVY = [
    *("torch", "opacus", "pandas", "sklearn", "scipy", "matplotlib", "jinja2"),
    *("dp_accounting", "numba", "typer", "rich"),
]
# What a company waits for before it trains: models and tables, but no library that few need.
_TRAINING = [each for each in _HEAVY if each not in ("torch", "pandas")]


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        *((name, _HEAVY) for name in ("privfed", "privfed.dp", "privfed.errors")),
        *((name, _HEAVY) for name in ("privfed.garbled", "privfed.secagg", "psi")),
        *((name, _HEAVY) for name in ("privfed.integrations",)),
        *((name, _TRAINING) for name in ("privfed.training", "privfed.partner.company")),
    ],
)
def test_importing_stays_light(package: str, heavy: list[str]) -> None:
    if heavy is _TRAINING:
        for needed in ("torch", "grpc", "tomli_w"):  # the process cannot say which extra it lacks
            pytest.importorskip(needed)
    code = f"import {package}, sys; print([m for m in sys.argv[1:] if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
