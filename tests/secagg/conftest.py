"""Makes what lies in this folder importable for the suites, and gives them a party's job."""

import pytest

from tests.secagg.party_jobs import Job


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path / "state")
