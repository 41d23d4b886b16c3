"""What newcomers to `privfed train` mistype: one line says what to do, before anybody waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from privfed.cli.train_outcome import check_out
from privfed.errors import ConfigError
from privfed.partner.plan import Plan
from privfed.secagg import Keyring
from psi.storage import Record
from tests.cli.command import Command

TABLE = "customer,age,region,buys\n" + "".join(
    f"C{i},{20 + i},{'north' if i % 3 else 'south'},{'yes' if i % 2 else 'no'}\n" for i in range(12)
)


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two identities and a server's, and a table that all may know."""
    place = tmp_path_factory.mktemp("companies")
    for name in ("maker", "shop", "cloud"):
        Keyring.create(place / name, None, unlocked=True)
    (place / "public.csv").write_text(TABLE)
    return place


def init(place: Path, *others: object, **changes: object) -> list[object]:
    """A plan's command, with some of its options changed; None: left out."""
    options: dict[str, object] = {
        "plan": place / "new.toml", "address": "localhost:7790", "rows": 12, "rounds": 2,
        "example": place / "public.csv", "label": "buys", "id": "customer",
    }  # fmt: skip
    found: list[object] = ["train", "init"]
    for name in ("maker", "shop"):
        found += ["--party", f"{name}={place / name / 'tls.crt'}"]
    for name, value in (options | changes).items():
        found += [] if value is None else [f"--{name.replace('_', '-')}", value]
    return [*found, *others]


@pytest.fixture
def plan(companies: Path, privfed: Command, tmp_path: Path) -> Path:
    done = privfed(*init(companies, plan=tmp_path / "plan.toml"))
    assert done.status == 0, done.err
    return tmp_path / "plan.toml"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": "local"}, "--noise has no effect without --epsilon: give both"),
        ({"per_id": 2}, "--per-id has no effect without --epsilon: give both"),
        ({"example": None, "id": None}, "--label has no effect without --example: give both"),
        ({"epsilon": 0}, "'--epsilon': 0 is no number above 0"),
        ({"epsilon": "nan"}, "'--epsilon': nan is no number above 0"),
        ({"epsilon": 3, "noise": "some"}, "'--noise': some is none of shares, local, central"),
        ({"epsilon": 3, "clip_range": 1}, "--clip-range bounds averages"),
        ({"epsilon": 3, "adversary": "honest-server"}, "is against lying-server: leave it out"),
        ({"groups": "a,b"}, "--groups a,b: give the parties of each group"),
        ({"groups": "3"}, "--groups must add up to the roster's 2 parties"),
        ({"groups": "2", "epsilon": 3}, "there are no groups"),
        ({"learning_rate": 0}, "'--learning-rate': 0 is no number above 0"),
        ({"clip_range": "nan"}, "'--clip-range': nan is no number above 0"),
        ({"overlap": "all"}, "'--overlap': all is none of none, counts, rows"),
        ({"overlap": "rows"}, "give its address as NAME=CERTIFICATE@HOST:PORT"),
        ({"loss": "hinge"}, "'--loss': hinge is none of sigmoid, softmax"),
        ({"encoding": "hot"}, "'--encoding': hot is none of codes, onehot"),
        ({"address": "localhost"}, "'--address': localhost is no HOST:PORT"),
        ({"address": "localhost:0"}, "with a port from 1 to 65535"),
        ({"address": "localhost:70000"}, "with a port from 1 to 65535"),
        ({"job": "two words"}, "'--job': 'two words' is no name"),
        ({"party": "x y=tls.crt"}, "--party x y=tls.crt: 'x y' is no name"),
        ({"party": "third"}, "--party third: give NAME=CERTIFICATE"),
        ({"rows": "1,2,3"}, "or one for each of 2 parties"),
        ({"rows": "many"}, "--rows many: give a number from 1 up"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(
    privfed: Command, companies: Path, changes: dict[str, object], said: str
) -> None:
    done = privfed(*init(companies, **changes))
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert said in done.err
    assert not (companies / "new.toml").exists()


def test_a_private_plan_of_weighted_parties_is_refused(privfed: Command, companies: Path) -> None:
    done = privfed(*init(companies, "--weighted", epsilon=3))
    assert (done.status, "parties do not count by their rows" in done.err) == (2, True)


def test_one_party_alone_is_no_training(privfed: Command, companies: Path) -> None:
    arguments = init(companies)
    done = privfed(*arguments[:4], *arguments[6:])
    assert (done.status, "two parties or more" in done.err) == (2, True), done.err


def test_a_plan_says_what_a_table_needs(privfed: Command, plan: Path) -> None:
    said = privfed("train", "show", "--plan", plan).out
    assert "columns  age, region\n" in said
    assert "label    buys: no, yes\n" in said
    assert "ID       customer\n" in said


def party(place: Path, plan: Path, out: Path, **changes: object) -> list[object]:
    """What the first party types."""
    options: dict[str, object] = {"plan": plan, "identity": place / "maker", "out": out}
    found: list[object] = ["train", "serve", changes.pop("table", place / "public.csv")]
    for name, value in (options | changes).items():
        found += [f"--{name}", value]
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wait": "nan"}, "'--wait': nan is no number above 0"),
        ({"listen": "here"}, "'--listen': here is no HOST:PORT"),
        ({"grant": 2}, "--grant has no effect without --budget"),
        ({"budget": "budget.json"}, "the plan has no ε to pay for"),
        ({"label": "bought"}, "there is no column 'bought': give --label one of customer, age"),
        ({"id": "age"}, "--id age: there is a column customer, too"),
    ],
)
def test_what_a_party_mistypes_is_named(
    privfed: Command, companies: Path, plan: Path, tmp_path: Path,
    changes: dict[str, object], said: str,
) -> None:  # fmt: skip
    done = privfed(*party(companies, plan, tmp_path / "out", **changes))
    assert done.status == 2
    assert said in done.err.splitlines()[-1]


def test_an_identity_is_a_folder_and_the_right_one(
    privfed: Command, companies: Path, plan: Path, tmp_path: Path
) -> None:
    certificate = companies / "maker" / "tls.crt"
    done = privfed(*party(companies, plan, tmp_path / "out", identity=certificate))
    assert (done.status, "is no folder: give the one that" in done.err) == (2, True)
    done = privfed(*party(companies, plan, tmp_path / "out", identity=companies / "cloud"))
    assert (done.status, "none of the plan's" in done.err) == (2, True)
    done = privfed("aggregate", "--plan", plan, "--identity", companies / "cloud")
    assert (done.status, "is not the plan's server" in done.err) == (2, True)


def test_an_older_training_is_not_written_over(
    privfed: Command, companies: Path, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.npz").write_bytes(b"of another training")
    done = privfed(*party(companies, plan, out))
    assert (done.status, "holds another training or its model" in done.err) == (2, True)
    assert (out / "model.npz").read_bytes() == b"of another training"


def test_out_that_cannot_be_is_named_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        check_out(tmp_path / "file", "0" * 64)
    check_out(tmp_path / "new" / "folder", "0" * 64)
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_one_identity_trains_once_at_a_time(
    privfed: Command, companies: Path, plan: Path, tmp_path: Path
) -> None:
    """Two processes would have thrown each other out of the session again and again."""
    home = companies / "maker" / "training" / Plan.load(plan).fingerprint.hex()[:32]
    home.mkdir(parents=True, exist_ok=True)
    with Record(home / "process"):
        done = privfed(*party(companies, plan, tmp_path / "out", listen="127.0.0.1:0"))
    assert (done.status, "another process trains by this plan? End it first" in done.err) == (
        2,
        True,
    )
