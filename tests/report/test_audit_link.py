"""A report links to the audit that lies beside it, and to nothing where there is none."""

from __future__ import annotations

from pathlib import Path

from privfed.report import write_report
from tests.report.samples import sample

LINK = '<a href="audit.html">'


def test_the_audit_beside_a_report_is_linked(tmp_path: Path) -> None:
    assert LINK not in write_report(sample(), tmp_path).read_text(encoding="utf-8")
    (tmp_path / "audit.html").touch()
    assert LINK in write_report(sample(), tmp_path).read_text(encoding="utf-8")
