"""Jobs of two companies that break off go on to one model; named errors where they cannot."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privfed.data.files import frame_sha256
from privfed.errors import BudgetExceededError, ConfigError, DecodeError
from privfed.vertical.answered import ANSWERED_FILE
from privfed.vertical.company import CompanyTable
from privfed.vertical.halves import HALF_FILE
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.linear.outcome import KnownLinear
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.results import UsedTable
from privfed.vertical.roles import Role
from privfed.vertical.scoring import score_rows
from privfed.vertical.unfinished import UNFINISHED_FILE
from psi.errors import ParameterMismatchError, PSIError, StateError, TransportError
from psi.network import TLSIdentity, create_identity, load_certificate
from tests.vertical.breaks import BrokenOffError, broken_off

pytest.importorskip("grpc")
from privfed.vertical.job import PartnerLine, do_job
from privfed.vertical.training import VerticalJob

ROLES: tuple[Role, Role] = ("guest", "host")
CHOICE = LinearChoice(iterations=5)
Ends = dict[str, KnownHalf | BaseException]


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("identities")
    for role in ROLES:
        create_identity(place / role, unlocked=True)
    return place


@pytest.fixture
def together(identities: Path) -> Any:
    """Both jobs, each in a thread of its own; what each returned or raised."""

    def run(jobs: Mapping[str, VerticalJob], turned_away: Callable[[str], None] = print) -> Ends:
        ports: queue.Queue[int] = queue.Queue()
        ends: Ends = {}

        def listening(port: int) -> None:
            for _ in jobs:  # there can be several guests
                ports.put(port)

        def be(name: str) -> None:
            role, other = ROLES if name != "host" else ROLES[::-1]
            port = ports.get() if role == "guest" else 0
            line = PartnerLine(
                identity=TLSIdentity.load(identities / role, None),
                peer_certificate=load_certificate(identities / f"{other}.crt"),
                listens=role == "host",
                address=f"127.0.0.1:{port}",
                wait_seconds=60,
                on_listening=listening,
                on_turned_away=turned_away,
            )
            try:
                ends[name] = do_job(jobs[name], line)
            except BaseException as error:  # the thread's end is what is looked at
                ends[name] = error.with_traceback(None)
                if name == "host":  # maybe before it listened
                    ports.put(1)

        def guests() -> None:
            for name in [name for name in jobs if name != "host"]:
                be(name)

        threads = [threading.Thread(target=guests)]
        if "host" in jobs:
            threads.append(threading.Thread(target=be, args=("host",)))
        else:
            ports.put(1)  # where nobody listens
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ends

    return run


def jobs_in(folder: Path, choice: LinearChoice = CHOICE, **changes: Any) -> dict[str, VerticalJob]:
    rng = np.random.default_rng(5)
    x, z, w = rng.normal(size=(3, 300))
    late = (rng.random(300) < 1 / (1 + np.exp(-x - z))).astype(int)
    ids = [f"c{number}" for number in range(300)]
    frames = {
        "guest": pd.DataFrame({"id": ids, "x": x, "late": late}).astype(str),
        "host": pd.DataFrame({"id": ids, "z": z, "w": w}).astype(str).iloc[::-1],
    }
    return {
        role: VerticalJob(
            table=CompanyTable(
                role=role,
                frame=frames[role].reset_index(drop=True),
                id_columns=("id",),
                label="late" if role == "guest" else None,
            ),
            name=role,
            file=UsedTable(role, frame_sha256(frames[role])),
            choice=choice,
            out=folder / role,
            unfinished=folder / role / UNFINISHED_FILE,
        )
        for role in ROLES
    }


def resuming(jobs: Mapping[str, VerticalJob]) -> dict[str, VerticalJob]:
    return {role: dataclasses.replace(job, resume=True) for role, job in jobs.items()}


def names(job: VerticalJob) -> list[str]:
    """The files of a company but locks, which hold nothing."""
    return sorted(path.name for path in job.out.iterdir() if path.suffix != ".lock")


def check_done(jobs: Mapping[str, VerticalJob], ends: Ends) -> tuple[KnownLinear, KnownLinear]:
    guest, host = ends["guest"], ends["host"]
    assert isinstance(guest, KnownLinear), guest
    assert isinstance(host, KnownLinear), host
    halves = [LinearHalf.load(jobs[role].out / HALF_FILE) for role in ROLES]
    assert halves[0].model == halves[1].model
    assert names(jobs["guest"]) == [HALF_FILE]
    assert names(jobs["host"]) == [ANSWERED_FILE, HALF_FILE]
    return guest, host


def answered(jobs: Mapping[str, VerticalJob]) -> int:
    return int(json.loads((jobs["host"].out / ANSWERED_FILE).read_text())["rows"])


def break_off(together: Any, jobs: Mapping[str, VerticalJob], place: str, role: str) -> Ends:
    with pytest.MonkeyPatch.context() as patch:

        def end() -> None:
            raise BrokenOffError

        broken_off(patch, place, role, end)
        ends: Ends = together(jobs)
    assert isinstance(ends[role], BrokenOffError)
    return ends


@pytest.mark.parametrize(
    ("place", "role"),
    [
        ("begun", "guest"),
        *((place, role) for place in ("iteration 3", "trained", "written") for role in ROLES),
        ("counted", "host"),
    ],
)
def test_a_job_that_breaks_off_goes_on(
    together: Any, tmp_path: Path, place: str, role: Role
) -> None:
    choice = dataclasses.replace(CHOICE, coefficients="shared")
    jobs = jobs_in(tmp_path, choice)
    ends = break_off(together, jobs, place, role)
    other = "host" if role == "guest" else "guest"
    assert isinstance(ends[other], TransportError)
    for job in jobs.values():
        assert UNFINISHED_FILE in names(job)
        assert job.unfinished.stat().st_mode & 0o777 == 0o600
    check_done(jobs, together(resuming(jobs)))
    scored = {"counted": 2, "written": 2}.get(place, 1)
    assert answered(jobs) == scored * 75


def test_what_goes_on_is_what_would_have_been(together: Any, tmp_path: Path) -> None:
    """No row is held out, so that both runs train on the same ones."""
    choice = dataclasses.replace(CHOICE, test_percent=0)
    whole = jobs_in(tmp_path / "whole", choice)
    wanted = check_done(whole, together(whole))
    jobs = jobs_in(tmp_path / "broken", choice)
    break_off(together, jobs, "iteration 3", "host")
    found = check_done(jobs, together(resuming(jobs)))
    for one, other in zip(found, wanted, strict=True):
        assert one.coefficients is not None
        assert one.coefficients == pytest.approx(other.coefficients, abs=4e-3)
    assert found[0].intercept == pytest.approx(wanted[0].intercept, abs=4e-3)


def test_who_met_nobody_has_nothing_to_go_on_with(together: Any, tmp_path: Path) -> None:
    """The host met a guest that never heard so: it is told to train anew."""
    jobs = jobs_in(tmp_path)
    break_off(together, jobs, "begun", "host")
    assert not jobs["guest"].out.exists()
    again = resuming(jobs)
    refused(together, again["guest"], "no training broke off here")
    refused(together, jobs["host"], "or train anew in another folder")


def test_an_end_that_one_side_heard_is_told(together: Any, tmp_path: Path) -> None:
    """Both halves are written, and one company does not know it: that file alone is left over."""
    jobs = jobs_in(tmp_path)
    ends = break_off(together, jobs, "heard", "guest")
    assert isinstance(ends["host"], KnownLinear)
    halves = [LinearHalf.load(jobs[role].out / HALF_FILE) for role in ROLES]
    assert halves[0].model == halves[1].model
    assert names(jobs["guest"]) == [HALF_FILE, UNFINISHED_FILE]
    assert names(jobs["host"]) == [ANSWERED_FILE, HALF_FILE]
    again = resuming(jobs)
    said = together({"host": again["host"]})["host"]
    assert isinstance(said, ConfigError)
    assert "so does the other company's folder" in str(said)
    with pytest.raises(ConfigError, match="if the other has its half and no such file, delete"):
        score_rows(
            halves[0], jobs["guest"].table.frame, None, guest_listens=False,  # type: ignore[arg-type]
            folder=jobs["guest"].out,
        )  # fmt: skip
    assert names(jobs["guest"]) == [HALF_FILE, UNFINISHED_FILE]


def test_one_that_goes_on_and_one_that_does_not_are_told(together: Any, tmp_path: Path) -> None:
    """The one that listens turns the other away, and trains with who comes with its own choice."""
    jobs, new = jobs_in(tmp_path / "one"), jobs_in(tmp_path / "new")
    break_off(together, jobs, "iteration 3", "guest")
    before = jobs["guest"].unfinished.read_bytes()
    told: list[str] = []
    again = resuming(jobs)["guest"]
    ends = together({"host": new["host"], "resuming": again, "guest": new["guest"]}, told.append)
    assert isinstance(ends["resuming"], ParameterMismatchError)
    assert "chose resume=False, this side True" in str(ends["resuming"])
    assert "chose resume=True, this side False" in told[0]
    assert jobs["guest"].unfinished.read_bytes() == before
    check_done(new, ends)


def test_trainings_of_other_folders_do_not_mix(together: Any, tmp_path: Path) -> None:
    """The same tables, the same choice, another order of rows: iterations alone would agree."""
    one, other = (jobs_in(tmp_path / name) for name in ("one", "other"))
    for jobs in (one, other):
        break_off(together, jobs, "begun", "guest")
    mixed = resuming({"guest": one["guest"], "host": other["host"]})
    ends = together(mixed)
    assert isinstance(ends["host"], StateError)
    assert "different trainings" in str(ends["host"])
    assert isinstance(ends["guest"], PSIError)
    for jobs in (one, other):
        check_done(jobs, together(resuming(jobs)))


def test_rows_of_sessions_that_broke_off_are_of_the_models_count(
    together: Any, tmp_path: Path
) -> None:
    """100 rows may be answered: a second try of 75 is too many, and none of them is."""
    jobs = jobs_in(tmp_path, dataclasses.replace(CHOICE, predictions=100))
    break_off(together, jobs, "counted", "host")
    ends = together({"host": resuming(jobs)["host"]})
    assert isinstance(ends["host"], BudgetExceededError)
    assert "answered 75 held-out rows" in str(ends["host"])


def refused(together: Any, job: VerticalJob, words: str, kind: type = ConfigError) -> None:
    """Before anybody else is asked, and with all files as they were."""
    before = {path.name: path.read_bytes() for path in job.out.glob("*")}
    error = together({job.table.role: job})[job.table.role]
    assert isinstance(error, kind), error
    assert words in str(error)
    assert "\n" not in str(error)
    assert {path.name: path.read_bytes() for path in job.out.glob("*")} == before


def test_what_cannot_go_on_is_refused_by_name(together: Any, tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path)
    host = jobs["host"]
    refused(together, resuming(jobs)["host"], "no training broke off here")
    assert not host.out.exists()
    break_off(together, jobs, "iteration 3", "guest")
    refused(together, host, "go on with `resume`")
    again = resuming(jobs)["host"]
    changed = UsedTable("host", "0" * 64)
    refused(together, dataclasses.replace(again, file=changed), "of another table")
    other = dataclasses.replace(CHOICE, penalty=0.5)
    refused(together, dataclasses.replace(again, choice=other), "penalty=0.001, not 0.5")
    table = dataclasses.replace(again.table, normalise="nfkc")
    refused(together, dataclasses.replace(again, table=table), "normalise=None, not nfkc")
    frame = again.table.frame.assign(z=again.table.frame["w"])
    table = dataclasses.replace(again.table, frame=frame)
    refused(together, dataclasses.replace(again, table=table), "other numbers")
    whole = host.unfinished.read_bytes()
    theirs = jobs["guest"].unfinished.read_bytes()
    host.unfinished.write_bytes(theirs)
    refused(together, again, "of another table")
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], whole.replace(b"1", b"2", 1)):
        host.unfinished.write_bytes(damaged)
        refused(together, again, "damaged", DecodeError)
    host.unfinished.write_bytes(whole)
    host.unfinished.chmod(0o644)
    refused(together, again, "chmod 600")
    host.unfinished.chmod(0o600)
    check_done(jobs, together(resuming(jobs)))
    refused(together, again, "so does the other company's folder")
    refused(together, host, "holds a half of a model")
