"""Benchmarks as data: arms, settings, the runs they make and the files these leave."""

from privfed.data import party_names
from privfed.experiment.arms import Arm, choose_arms
from privfed.experiment.beside import BESIDE, settings_beside, usual_private_model
from privfed.experiment.common_ids import Aligner
from privfed.experiment.forecast import Forecast, forecast
from privfed.experiment.model_file import Prediction, SavedModel, load_model, predict, save_model
from privfed.experiment.partitioned import Job
from privfed.experiment.provenance import provenance
from privfed.experiment.results import Overlap, Results, Run, Summary
from privfed.experiment.runner import Benchmark, jobs, prepare_benchmark, run_benchmark
from privfed.experiment.settings import Settings
from privfed.records import PrivacyCost

__all__ = [
    "BESIDE",
    "Aligner",
    "Arm",
    "Benchmark",
    "Forecast",
    "Job",
    "Overlap",
    "Prediction",
    "PrivacyCost",
    "Results",
    "Run",
    "SavedModel",
    "Settings",
    "Summary",
    "choose_arms",
    "forecast",
    "jobs",
    "load_model",
    "party_names",
    "predict",
    "prepare_benchmark",
    "provenance",
    "run_benchmark",
    "save_model",
    "settings_beside",
    "usual_private_model",
]
