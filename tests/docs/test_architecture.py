"""The picture of docs/architecture.md is the one that the imports make today."""

from tests.docs.architecture import PICTURE, draw, floors, rooms


def test_the_picture_is_made_of_todays_imports() -> None:
    assert PICTURE.read_text() == draw(), "draw it anew: python -m tests.docs.architecture"


def test_every_room_has_a_floor() -> None:
    placed = {room for rows in floors().values() for row in rows for room in row}
    assert placed == set(rooms().nodes)
