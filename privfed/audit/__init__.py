"""Attacks on training, and checks that its noise is what was claimed. See docs/audit.md."""

from privfed.audit.checks import CHECKS, Check, Checked, LowerBound
from privfed.audit.one_run import epsilon_lower_bound
from privfed.audit.results import AuditResults, Detection, Verdict
from privfed.audit.runner import run_audit
from privfed.audit.settings import AuditSettings

__all__ = [
    "CHECKS",
    "AuditResults",
    "AuditSettings",
    "Check",
    "Checked",
    "Detection",
    "LowerBound",
    "Verdict",
    "epsilon_lower_bound",
    "run_audit",
]
