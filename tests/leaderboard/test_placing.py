from __future__ import annotations

import itertools
import random
from typing import NamedTuple

from serbench.leaderboard.placing import AWAY, LETTER, LINE, Point, Side, sides

DRAWN = 5
"""Pixels from the middle of a point to its rim."""
ENDS: tuple[Side, Side] = (-1, 1)


def test_a_name_is_on_its_better_side_if_there_is_room() -> None:
    middle = [Point(100, 50, 10)]
    assert list(sides(middle, 200, first=-1, above=1)) == [-1]
    assert list(sides(middle, 200, first=1, above=1)) == [1]
    assert list(sides([Point(20, 50, 10)], 200, first=-1, above=1)) == [1]
    assert list(sides([Point(180, 50, 10)], 200, first=1, above=1)) == [-1]
    assert list(sides(middle, 120, first=1, above=1)) == [-1]
    assert list(sides([Point(50, 50, 10)], 100, first=1, above=1)) == [None]


def test_who_chooses_first_has_a_name() -> None:
    near = [Point(100, 50, 10), Point(104, 52, 10), Point(108, 54, 10)]
    assert list(sides(near, 200, first=-1, above=1)) == [-1, None, 1]
    assert list(sides(near[:0:-1], 200, first=-1, above=1)) == [1, -1]
    below = [Point(100, 50, 10), Point(120, 50, 10)]
    assert list(sides(below, 200, first=1, above=-1)) == [-1, 1]


def test_no_name_hides_another_or_a_point_in_a_picture_of_that_width_or_wider() -> None:
    chance = random.Random(0)
    told = 0
    for first, above in itertools.product(ENDS, ENDS):
        for _ in range(20):
            shares = [(chance.random(), chance.random(), chance.randrange(1, 26)) for _ in range(8)]
            chosen = list(sides(at(shares, 300), 300, first=first, above=above))
            told += sum(side is not None for side in chosen)
            for width in (300, 301, 310, 400, 600, 1_500):
                points = at(shares, width)
                names = {i: name(points[i], side, above) for i, side in enumerate(chosen) if side}
                assert all(box.left >= 0 and box.right <= width for box in names.values())
                assert not any(meet(a, b) for a, b in itertools.combinations(names.values(), 2))
                for (i, box), (j, point) in itertools.product(names.items(), enumerate(points)):
                    assert i == j or not meet(box, dot(point))
    assert told > 200


class Box(NamedTuple):
    left: float
    right: float
    bottom: float
    top: float


def at(shares: list[tuple[float, float, int]], width: float) -> list[Point]:
    """Points in a picture of that width and of any height."""
    return [Point(30 + x * (width - 60), 30 + 160 * y, letters) for x, y, letters in shares]


def name(point: Point, side: Side, above: Side) -> Box:
    ends = point.x + side * AWAY, point.x + side * (AWAY + point.letters * LETTER)
    middle = point.y + above * AWAY
    return Box(min(ends), max(ends), middle - LINE / 2, middle + LINE / 2)


def dot(point: Point) -> Box:
    return Box(point.x - DRAWN, point.x + DRAWN, point.y - DRAWN, point.y + DRAWN)


def meet(a: Box, b: Box) -> bool:
    return a.left < b.right and b.left < a.right and a.bottom < b.top and b.bottom < a.top
