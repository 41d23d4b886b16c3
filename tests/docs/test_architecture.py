"""The picture of docs/architecture.md is the one that the imports make today."""

import importlib
import re

from tests.docs.architecture import PICTURE, draw, floors, rooms
from tests.places import DOCS, ROOT


def test_the_picture_is_made_of_todays_imports() -> None:
    assert PICTURE.read_text() == draw(), "draw it anew: python -m tests.docs.architecture"


def test_every_room_has_a_floor() -> None:
    placed = {room for rows in floors().values() for row in rows for room in row}
    assert placed == set(rooms().nodes)


def test_the_walks_name_what_is_there() -> None:
    page = (DOCS / "architecture.md").read_text("utf-8")
    stays = re.findall(r"^\| \d \| `([\w.]+)` in `([\w/]+\.py)`", page, re.M)
    assert len(stays) == 11
    for name, path in stays:
        found: object = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            found = getattr(found, part)
    assert all((ROOT / path).exists() for path in re.findall(r"`((?:psi|privfed)/[\w/.]+)`", page))
