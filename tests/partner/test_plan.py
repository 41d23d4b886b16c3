"""One file that names all that parties agree on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from torch import nn

from privfed.dp import calibrate
from privfed.errors import AuthenticationError, ConfigError, DecodeError, PrivFedError
from privfed.partner import Plan, PlanParty
from privfed.partner.plan import make_plan, privacy_settings
from privfed.training import get_arrays, initial_model
from psi.network import create_identity
from tests.partner.trainings import build, plan_of, rings

OTHER: dict[str, Any] = {
    "job": "another", "model": "module:function", "start": "0" * 64, "labels": ("1", "0"),
    "classes": ("yes", "no"), "rounds": 6, "seed": 4, "most_rows": 5, "weighted": False,
    "clip_range": 1.0, "adversary": "honest-server", "group_sizes": (2,), "address": "localhost:2",
    "loss": "softmax", "learning_rate": 0.5, "overlap": "rows",
}  # fmt: skip


def settings_of(plan: Plan, **changes: Any) -> dict[str, Any]:
    """Settings of privacy that fit a plan, but for the changes."""
    fitting: dict[str, Any] = {
        "noise": "shares", "rows": [4] * len(plan.parties), "rounds": plan.rounds + 1,
        "l2_clip_norm": 1.0, "sampling_rates": [0.5] * len(plan.parties),
        "dimension": sum(math.prod(shape) for _, shape in plan.layout),
    }  # fmt: skip
    return privacy_settings(calibrate(3.0, 1e-5, **fitting | changes))


@pytest.mark.parametrize("private", [False, True])
def test_a_plan_is_the_same_from_its_file(tmp_path: Path, private: bool) -> None:
    plan = plan_of(tmp_path, 3)
    if private:
        settings = dict(reversed(settings_of(plan).items()))  # in any order
        plan = msgspec.structs.replace(plan, privacy=settings, weighted=False)
    plan.save(tmp_path / "plan.toml")
    again = Plan.load(tmp_path / "plan.toml")
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert again.parameters().fingerprint == plan.parameters().fingerprint
    with pytest.raises(ConfigError, match="is there already: give another"):
        plan.save(tmp_path / "plan.toml")


def test_the_fingerprint_is_of_every_field(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 3)
    changed = {
        **OTHER,
        "privacy": settings_of(plan, l2_clip_norm=2.0),
        "layout": plan.layout[:1],
        "encoder": plan.encoder + " ",
        "server": plan.parties[1],
        "parties": plan.parties[::-1],
    }
    assert changed.keys() == set(plan.__struct_fields__) - {"format"}
    prints = {plan.fingerprint}
    for name, value in changed.items():
        prints.add(msgspec.structs.replace(plan, **{name: value}).fingerprint)
    assert len(prints) == len(changed) + 1


def test_two_plans_have_other_keys(tmp_path: Path) -> None:
    """The parameters name the plan: bytes of one are none of another."""
    one, other = plan_of(tmp_path, 3), plan_of(tmp_path, 3, rounds=6)
    assert one.parameters().fingerprint != other.parameters().fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rounds = 5", "rounds = 0"),
        ("rounds = 5", 'rounds = "5"'),
        ("rounds = 5", "rounds = 5\nmore = 1"),
        ('format = "privfed plan 1"', 'format = "privfed plan 2"'),
        ('name = "party-0"', 'name = "a\\u001b[2J"'),
        ('adversary = "lying-server"', 'adversary = "lying-server+1, certified\\u001b[2J"'),
        ("learning_rate = 0.001", "learning_rate = inf"),
        ("seed = 3", f"seed = {'[' * 10_000}"),
        ("-----BEGIN", "-----BEGUN"),
        ("[", "]"),
        ("most_rows", "m\xe9st_rows"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str) -> None:
    plan_of(tmp_path, 2).save(tmp_path / "plan.toml")
    text = (tmp_path / "plan.toml").read_text()
    assert old in text
    (tmp_path / "bad.toml").write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(PrivFedError) as told:
        Plan.load(tmp_path / "bad.toml")
    assert "\x1b" not in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_file_is_measured_before_it_is_parsed(tmp_path: Path) -> None:
    with (tmp_path / "plan.toml").open("wb") as file:
        file.truncate((1 << 24) + 1)
    with pytest.raises(DecodeError, match="is larger than 16777216 bytes: it is no plan"):
        Plan.load(tmp_path / "plan.toml")


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Plan.load(tmp_path / "none.toml")


def members(tmp_path: Path) -> list[PlanParty]:
    return [
        PlanParty(name=f"p{place}", certificate=each.certificate.decode())
        for place, each in enumerate(rings(tmp_path, 3))
    ]


def test_parties_are_told_apart(tmp_path: Path) -> None:
    plan, (one, two, three) = plan_of(tmp_path, 3), members(tmp_path)
    twice = msgspec.structs.replace(three, name="p1")
    for wrong in ((one, two, twice), (one, two, two)):
        with pytest.raises(ConfigError, match="one name or one certificate"):
            msgspec.structs.replace(plan, parties=wrong).check()
    create_identity(tmp_path / "tls", unlocked=True)
    bare = PlanParty(name="bare", certificate=(tmp_path / "tls.crt").read_text())
    with pytest.raises(DecodeError, match="identity"):
        msgspec.structs.replace(plan, parties=(one, two, bare)).check()
    with pytest.raises(ConfigError, match="none of the plan's"):
        plan.place_of((tmp_path / "tls.crt").read_bytes())
    assert plan.place_of(three.certificate.encode()) == 2


def test_another_model_is_not_the_plans(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 2)
    plan.check_start(get_arrays(initial_model(build, 3)))
    with pytest.raises(ConfigError, match="initial weights are not those"):
        plan.check_start(get_arrays(initial_model(build, 4)))
    with pytest.raises(ConfigError, match="other names or shapes"):
        plan.check_start(get_arrays(nn.Linear(3, 2)))


def test_settings_out_of_range_are_named(tmp_path: Path) -> None:
    start = get_arrays(initial_model(build, 3))
    one, two, _ = members(tmp_path / "all")
    settings = {
        name: value
        for name, value in msgspec.structs.asdict(plan_of(tmp_path, 2)).items()
        if name not in ("format", "layout", "start", "parties", "server")
    }
    make_plan((one, two), one, start=start, **settings)
    for name, wrong, said in (
        ("rounds", 0, "plan.rounds"),
        ("address", "nowhere", "plan.address"),
        ("labels", ("0", "1", "2"), "a label for each class"),
        ("adversary", "lying-server+1", "too few for a group"),
        ("clip_range", -1.0, "plan.clip_range"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_plan((one, two), one, start=start, **settings | {name: wrong})


def test_a_signature_is_of_this_plan_session_and_statement(tmp_path: Path) -> None:
    plan, other = plan_of(tmp_path, 2), plan_of(tmp_path, 2, rounds=6)
    mine = rings(tmp_path, 2)[0].identity
    signed = plan.sign(mine, b"session", b"said")
    plan.verify(0, signed, b"session", b"said")
    for at, session, said in (
        (1, b"session", b"said"),
        (0, b"sessioN", b"said"),
        (0, b"session", b""),
    ):
        with pytest.raises(AuthenticationError, match=f"party-{at} did not sign"):
            plan.verify(at, signed, session, said)
    with pytest.raises(AuthenticationError, match="did not sign this plan"):
        other.verify(0, signed, b"session", b"said")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rows": [4, 4], "sampling_rates": [0.5, 0.5]}, "another number of parties"),
        ({"quorum": 2}, "all parties take part"),
        ({"rounds": 4}, "fewer rounds"),
        ({"rows": [4, 5, 4]}, "more rows"),
        ({"dimension": 5}, "another size"),
        ({"colluders": 0}, "its own share"),
        ({"privacy_unit": "all rows of one ID at all parties, at most 1 at each"}, "its unit"),
        ({"privacy_unit": "one row\n against everybody"}, "its unit"),
        ({"placements": [(2, 0, 0), (0, 2, 0), (0, 0, 2)]}, "its unit"),
    ],
)
def test_the_privacy_of_another_training_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    plan = msgspec.structs.replace(plan_of(tmp_path, 3), weighted=False)
    msgspec.structs.replace(plan, privacy=settings_of(plan)).check()
    with pytest.raises(ConfigError, match=why):
        msgspec.structs.replace(plan, privacy=settings_of(plan, **changes)).check()
    weaker = msgspec.structs.replace(plan, privacy=settings_of(plan), adversary="lying-server")
    with pytest.raises(ConfigError, match=r"is against lying-server\+1: let the plan say so"):
        weaker.check()
    with pytest.raises(ConfigError, match="count by their rows"):
        msgspec.structs.replace(plan, privacy=settings_of(plan), weighted=True).check()
    with pytest.raises(ConfigError, match="not the settings"):
        msgspec.structs.replace(plan, privacy={"noise": "shares"})


def test_an_overlap_needs_addresses_and_ids(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(plan_of(tmp_path, 2), overlap="counts")
    with pytest.raises(ConfigError, match="connect to it: give its address"):
        plan.check()
    first = msgspec.structs.replace(plan.parties[0], address="localhost:2")
    plan = msgspec.structs.replace(plan, parties=(first, plan.parties[1]))
    with pytest.raises(ConfigError, match="no ID column"):
        plan.check()
    with pytest.raises(ConfigError, match="the server and a party both have localhost:2"):
        msgspec.structs.replace(plan, address="localhost:2").check()


@pytest.mark.parametrize("adversary", ["lying-server", "honest-server"])
def test_a_party_that_serves_three_is_held_against(tmp_path: Path, adversary: str) -> None:
    """Also where somebody edits the file: it would see two others' updates one by one."""
    text = tmp_path / "plan.toml"
    plan_of(tmp_path, 3).save(text)
    text.write_text(text.read_text().replace("lying-server+1", adversary))
    with pytest.raises(ConfigError, match=r"a party is the server, .* lying-server\+1 at least"):
        Plan.load(text)
    (ring,) = rings(tmp_path / "server", 1)
    other = PlanParty(name="server", certificate=ring.certificate.decode())
    msgspec.structs.replace(plan_of(tmp_path, 3), server=other, adversary=adversary).check()


def test_no_party_is_trusted_with_sums(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(plan_of(tmp_path, 2), weighted=False, adversary="honest-server")
    settings = settings_of(plan, noise="central")
    with pytest.raises(ConfigError, match="is no party: name another"):
        msgspec.structs.replace(plan, privacy=settings).check()
