"""What the pages' blocks take as given: models, tables, parties and files, all of them small."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from nvflare.recipe.spec import ExecEnv
from torch import nn

from privfed import secagg
from privfed.data import surrogate_tables
from privfed.dp import PrivacyBudget, calibrate
from privfed.integrations import EmbeddedParty, simulated_keys
from privfed.integrations.kept import digest_of_model
from privfed.integrations.messages import Assignment, Greet
from psi.network import TLSIdentity, connect, create_identity
from psi.sessions import PairChoice, TableSession
from tests.docs.snippets import BLOCKS
from tests.places import ROOT
from tests.report.samples import sample

__all__ = ["CONSOLE", "PYTHON", "SLOW"]


def averaging(folder: Path) -> dict[str, Any]:
    """Three companies and a model; what the others send is there, the block makes its own."""
    model = nn.Linear(3, 2)
    own, *others = (secagg.generate_identity() for _ in range(3))
    parameters = secagg.Parameters(
        job="model",
        layout=secagg.Layout.of(model.state_dict()),
        clip_range=1.0,
        bits=16,
        max_clients=3,
        max_weight=512,
        roster=(own.public, *(each.public for each in others)),
    )
    key = secagg.generate_keys(parameters)
    given = {"parameters": parameters, "key": key, "identity": own, "model": model}
    given["folder"] = folder / "own"
    parties = [secagg.Party(parameters, key, each, state="memory") for each in others]
    theirs = [each.start_epoch() for each in parties]
    given["theirs"] = theirs

    def uploads() -> Iterator[bytes]:
        yield cast("bytes", given["upload"])  # made by then, as its message
        for each in parties:
            each.enter_epoch([cast("bytes", given["message"]), *theirs])
            yield each.encrypt(model.state_dict(), weight=100)

    given["uploads"] = uploads()
    return given


def own_loop(folder: Path) -> dict[str, Any]:
    """Two companies; the other one has the same loop, and the exchange is a call."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    simulated_keys(folder, model.state_dict(), parties=2, max_weight=64)
    other = secagg.Party.load(folder / "1")

    def exchange(upload: bytes) -> list[bytes]:
        both = [upload, other.encrypt(model.state_dict(), weight=40)]
        added = secagg.Aggregator(other.params, other.round_id)
        for each in both:
            added.add(each)
        other.open(added.total())
        return both

    rows = torch.utils.data.TensorDataset(torch.rand(50, 3))
    given: dict[str, Any] = {"keys": folder / "0", "model": model, "exchange": exchange}
    given |= {"train_one_epoch": lambda model, batches: None, "rounds": 2, "torch": torch}
    return given | {"batches": torch.utils.data.DataLoader(rows, 10), "other": other}


def three_in_a_loop(folder: Path) -> dict[str, Any]:
    """Three companies before their first round."""
    given = averaging(folder)
    party = secagg.Party(given["parameters"], given["key"], given["identity"], state="memory")
    given |= {"party": party, "exchange": lambda message: [message, *given["theirs"]]}
    return given


def a_server(folder: Path) -> dict[str, Any]:
    """What three companies sent."""
    given = three_in_a_loop(folder)
    message = given["party"].start_epoch()
    given["party"].enter_epoch([message, *given["theirs"]])
    given["message"], model = message, given["model"]
    given["upload"] = given["party"].encrypt(model.state_dict(), weight=10)
    given |= {"round_id": 1, "secagg": secagg}
    return given


def wards(folder: Path) -> dict[str, Any]:
    """Three companies' roster, and a model with BatchNorm and a head."""
    model = nn.Sequential()
    for name, each in (("body", nn.Linear(3, 4)), ("norm", nn.BatchNorm1d(4))):
        model.add_module(name, each)
    model.add_module("head", nn.Linear(4, 2))
    with torch.no_grad():
        model[2].weight.mul_(0.1)  # type: ignore[operator]
        model[2].bias.mul_(0.1)  # type: ignore[operator]
    identities = [secagg.generate_identity() for _ in range(3)]
    roster = tuple(each.public for each in identities)
    return {"secagg": secagg, "model": model, "roster": roster, "identities": identities}


def a_range_round(folder: Path) -> dict[str, Any]:
    """The same companies and their key; the other two are played by two functions."""
    given = wards(folder)
    own, *others = given.pop("identities")
    parameters = secagg.Parameters(
        job="wards",
        layout=secagg.Layout.of(given["model"].state_dict()),
        clip_range=4.0,
        bits=16,
        max_clients=3,
        max_weight=512,
        roster=given.pop("roster"),
    )
    key, first = secagg.generate_keys(parameters), secagg.range_round(parameters)
    parties = [
        secagg.Party(first, key.successor(first.fingerprint), each, "memory") for each in others
    ]

    def exchange(message: bytes) -> list[bytes]:
        every = [message, *(each.start_epoch() for each in parties)]
        for each in parties:
            each.enter_epoch(every)
        return every

    def total_of(params: secagg.Parameters, upload: bytes) -> bytes:
        server = secagg.Aggregator(params, 1)
        server.add(upload)
        for each in parties:
            said = secagg.octaves(given["model"].state_dict(), parameters)
            server.add(each.encrypt_integers(said))
        return server.total()

    given |= {"parameters": parameters, "key": key, "identity": own, "folder": folder}
    return given | {"exchange": exchange, "total_of": total_of}


def a_total(folder: Path) -> dict[str, Any]:
    """A party, its model and a total."""
    given = own_loop(folder)
    party, model = secagg.Party.load(given["keys"]), given["model"]
    server = secagg.Aggregator(party.params, 1)
    for each in (party, given["other"]):
        server.add(each.encrypt(model.state_dict(), weight=10))
    return {"party": party, "model": model, "total": server.total()}


class JobFolder(ExecEnv):  # type: ignore[misc]
    """In the place of NVFlare's simulator: the job's files are all that is made."""

    def deploy(self, job: Any) -> str:
        job.export_job("job")
        return "job"

    def get_job_status(self, job_id: str) -> None:
        raise NotImplementedError

    abort_job = get_job_result = get_job_status


def a_recipe(folder: Path) -> dict[str, Any]:
    """A network, and the files that a recipe names."""
    (folder / "client.py").touch()
    model = {name: each.numpy() for name, each in nn.Linear(12, 2).state_dict().items()}
    np.savez(folder / "start.npz", allow_pickle=False, **model)
    return {"Net": lambda: nn.Linear(12, 2), "env": JobFolder()}


def a_site(folder: Path) -> dict[str, Any]:
    """A site that has an initial model alone."""
    simulated_keys(folder / "keys", parties=["site-1", "site-2"], arrays={"w": np.zeros(3)})
    model = {"w": np.ones(3)}
    sites = [EmbeddedParty(folder / "keys" / f"site-{number}", "run") for number in (1, 2)]
    hellos = tuple(site.greet(Greet(digest_of_model(model))).hello for site in sites)
    sites[0].receive(Assignment("finish", hellos=hellos), model, [])
    for site in sites:
        site.close()
    return {}


def private_training(folder: Path) -> dict[str, Any]:
    """Ten companies with 144 rows each."""
    torch.set_num_threads(1)  # more cost time on a model this small
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 10), nn.LogSoftmax(dim=1))
    everybody = [(torch.rand(144, 64), torch.randint(10, (144,))) for _ in range(10)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"model": model, "everybody": everybody, "optimizer": optimizer, "Path": Path}


def private_rows(folder: Path) -> dict[str, Any]:
    """The features of ten companies, and a budget."""
    features = [torch.rand(144, 64) * 16 for _ in range(10)]
    return {"features": features, "budget": PrivacyBudget(1.0, 1e-5, privacy_unit="one row")}


def private_tuning(folder: Path) -> dict[str, Any]:
    """One company with 500 rows and 100 held out, and a training that takes no time."""
    common: dict[str, Any] = {"noise": "central", "rounds": 1, "l2_clip_norm": 1.0}
    plan = calibrate(1.0, 1e-5, rows=[500], sampling_rates=[0.1], **common)
    score_plan = calibrate(0.5, 1e-5, rows=[100], sampling_rates=[1.0], **common)

    def train_and_score(rate: float, budget: PrivacyBudget) -> tuple[float, list[Any]]:
        return rate, [torch.ones(100, 1)]

    budget = PrivacyBudget(2.0, 1e-5, privacy_unit="one row")
    given = {"plan": plan, "score_plan": score_plan, "train_and_score": train_and_score}
    return given | {"budget": budget}


def frames(*names: str, on: str) -> Callable[[Path], dict[str, Any]]:
    """Two data frames that share IDs."""

    def given(folder: Path) -> dict[str, Any]:
        left = pd.DataFrame({on: ["1", "2", "3"], "colour": ["red", "green", "blue"]})
        right = pd.DataFrame({on: ["9", "3", "2"], "price": [30, 20, 10]})
        return dict(zip(names, (left, right), strict=True))

    return given


def a_side_that_joins(folder: Path) -> dict[str, Any]:
    """A table, both certificates, and the other side: it asks the same two questions in turn."""
    for name in ("alice", "bob"):
        create_identity(folder / name, unlocked=True)
    own, other = (TLSIdentity.load(folder / name) for name in ("alice", "bob"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    left, right = frames("left", "right", on="ID")(folder).values()

    def ask() -> None:
        with connect(
            address=address, identity=other, peer_certificate=own.certificate
        ) as connection:
            for question in ("intersection", "cardinality"):
                choice = PairChoice(side="join", learn=question)
                session = TableSession.prepare(right, choice, on="ID")
                connection.converse(session.party, session.terms)

    threading.Thread(target=ask).start()
    return {"address": address, "own": own, "peer": other.certificate, "table": left}


def _run(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, check=True, capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def two_files(folder: Path) -> None:
    """Two tables in one hand, in both formats."""
    left, right = frames("left", "right", on="ID")(folder).values()
    for name, table in (("a", left), ("b", right)):
        table.to_csv(folder / f"{name}.csv", index=False)
        table.to_parquet(folder / f"{name}.parquet", index=False)


def before_and_after(place: Path) -> None:
    """Leave what two benchmarks of other numbers of rounds leave."""
    for name, rounds in (("before", 20), ("after", 30)):
        (place / name).mkdir()
        results = sample(arms=("guest", "federated"), rounds=rounds, splits=("disjoint",))
        results.write(place / name / "results.json")


def finished_demo(folder: Path) -> None:
    """What `make demo` leaves, of one round, and new dresses to judge; and two tables."""
    _run(
        folder, "privfed", "benchmark", "--quick", "--split", "overlapping", "--rounds", "1",
        "--arms", "federated-he", "--out", "demo",
    )  # fmt: skip
    dresses, _ = surrogate_tables()
    dresses.head(5).drop(columns="Recommendation").to_csv(folder / "new-dresses.csv", index=False)
    two_files(folder)


def companies(**tables: str) -> Callable[[Path], None]:
    """Each with the table that it names, keyed by the column that its command gives."""

    def prepare(folder: Path) -> None:
        for place, (name, table) in enumerate(tables.items()):
            home = folder / name
            home.mkdir()
            on = "customer" if "orders" in table else "ID"
            rows = pd.DataFrame({on: ["2", "3", str(10 + place)], "row": [1, 2, 3]})
            (rows.to_parquet if table.endswith("parquet") else rows.to_csv)(
                home / table, index=False
            )

    return prepare


def three_companies(folder: Path) -> None:
    """The pair above and a third, with their keys, and each with all certificates."""
    names = {"alice": "customers.csv", "bob": "orders.csv", "carol": "visits.csv"}
    companies(**names)(folder)
    for name in names:
        _run(folder / name, "psi", "keygen", "--unlocked", name)
        certificate = folder / name / f"{name}.crt"
        for other in names.keys() - {name}:
            (folder / other / certificate.name).write_bytes(certificate.read_bytes())


def makers(**rows: int) -> Callable[[Path], None]:
    """Companies with so many dresses, of which each two share some, and some held out."""

    def prepare(folder: Path) -> None:
        dresses, _ = surrogate_tables()
        for place, (name, count) in enumerate(rows.items()):
            home = folder / name
            home.mkdir()
            own = dresses.iloc[100 * place :]
            own.head(count).to_csv(home / "dresses.csv", index=False)
            own.tail(40).to_csv(home / "held-out.csv", index=False)
            unlabelled = own.tail(5).drop(columns="Recommendation")
            unlabelled.to_csv(home / "new-dresses.csv", index=False)

    return prepare


def customers(folder: Path) -> None:
    """Companies with a table and a model of their own; one calls columns otherwise."""
    random = np.random.default_rng(0)

    def rows(first: int, count: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "customer": [f"C{first + at}" for at in range(count)],
                "age": random.integers(18, 80, count),
                "region": random.choice(["north", "south"], count),
                "buys": random.choice(["no", "yes"], count),
            }
        )

    (model,) = (
        block.text
        for block in BLOCKS
        if (block.page, block.language) == ("docs/partner.md", "python")
    )
    for name in ("maker", "shop"):
        (folder / name).mkdir()
        (folder / name / "networks.py").write_text(model)
    rows(900, 60).to_csv(folder / "maker" / "public.csv", index=False)
    rows(0, 150).to_csv(folder / "maker" / "rows.csv", index=False)
    own = rows(500, 120).rename(columns={"customer": "Number", "buys": "Bought"})
    own.to_excel(folder / "shop" / "rows.xlsx", index=False)
    own.tail(5).drop(columns="Bought").to_excel(folder / "shop" / "new.xlsx", index=False)


def shops(folder: Path) -> None:
    """A table of three shops' orders, and the files of two of them."""
    random = np.random.default_rng(0)
    amount = random.normal(size=300).round(2)
    orders = pd.DataFrame(
        {
            "customer": [f"C{at}" for at in random.integers(0, 250, 300)],
            "amount": amount,
            "shop": random.choice(["north", "south", "web"], 300),
            "late": np.where(amount + random.normal(size=300) > 0, "yes", "no"),
        }
    )
    orders.to_csv(folder / "orders.csv", index=False)
    for name in ("north", "south"):
        own = orders[orders["shop"] == name].drop(columns="shop")
        own.to_csv(folder / f"{name}.csv", index=False)


def orders(folder: Path) -> None:
    """An export as spreadsheets write it, of an online shop; and one that leaves doubts."""
    drawn, n = np.random.default_rng(0), 600
    income, member = drawn.lognormal(8, 0.5, n), drawn.choice(["yes", "no"], n)
    region, day = drawn.choice(["north", "south", "east"], n), drawn.integers(0, 700, n)
    odds = 2.7 * (np.log(income) - 8) + 0.9 * (region == "north") + (member == "yes") - 0.8
    late = np.where(drawn.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no")
    amounts = [f"{x:,.2f} €".translate(str.maketrans(",.", ".,")) for x in income]
    amounts[17] = "unknown"
    since = (pd.Timestamp("2023-01-01") + pd.to_timedelta(day, unit="D")).strftime("%d.%m.%Y")
    table = pd.DataFrame(
        {
            "customer": [f"c{row:04}@shop.example" for row in range(n)],
            "income": amounts,
            "since": since,
            "member": member,
            "region": region,
            "late": late,
        }
    )
    table.to_csv(folder / "orders.csv", index=False)
    table["paid"], table["zip"] = [f"{x:,.0f}" for x in income], drawn.choice(["10115", "20095"], n)
    table.to_csv(folder / "doubtful.csv", index=False)


def prices(folder: Path) -> None:
    """Flats, with their prices as the label."""
    drawn, n = np.random.default_rng(0), 240
    size, floor = drawn.uniform(30, 140, n).round(1), drawn.integers(0, 9, n)
    price = (900 * size + 4000 * floor + drawn.normal(0, 9000, n)).round(-2)
    pd.DataFrame({"size": size, "floor": floor, "price": price}).to_csv(
        folder / "prices.csv", index=False
    )


def nothing(folder: Path) -> dict[str, Any]:
    """What a block that needs no names has."""
    return {}


# By page, in the order of the blocks that run.
PYTHON: dict[str, list[Callable[[Path], dict[str, Any]]]] = {
    "README.md": [averaging, private_training, frames("maker", "shop", on="Dress_ID")],
    "docs/arrays.md": [wards, a_range_round, nothing, a_total],
    "docs/nvflare.md": [a_recipe, a_recipe, a_recipe, a_recipe, a_site],
    "docs/partner.md": [nothing],
    "docs/privacy.md": [private_training, private_rows, private_tuning],
    "docs/pytorch.md": [own_loop, three_in_a_loop, a_server],
    "docs/psi.md": [frames("left", "right", on="ID"), a_side_that_joins],
}


def as_it_is(folder: Path) -> None:
    """What the command brings itself is enough."""


CONSOLE: dict[str, list[Callable[[Path], None]]] = {
    "README.md": [finished_demo],
    "docs/benchmark.md": [as_it_is, before_and_after],
    "docs/parties.md": [shops],
    "docs/own-tables.md": [orders, prices, orders],
    "docs/partner.md": [
        makers(maker=200, shop=150),
        makers(maker=120, shop=100, outlet=80),
        makers(maker=200, shop=150),
        customers,
    ],
    "docs/psi.md": [
        companies(alice="customers.csv", bob="orders.parquet"),
        three_companies,
        three_companies,
        two_files,
    ],
}
SLOW = {private_training, finished_demo, shops, a_recipe}
