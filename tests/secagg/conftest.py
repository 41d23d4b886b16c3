"""Makes what lies in this folder importable for the suites, and gives them a party's job."""

from pathlib import Path

import pytest

from tests.secagg.party_jobs import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "state")
