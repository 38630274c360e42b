"""Which points of a picture have room for their names, and on which side of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["AWAY", "Point", "Side", "sides"]

Side = Literal[-1, 1]
"""Towards lower or higher values."""
LETTER, LINE = 5.5, 13
"""Pixels of a letter, a little more than they take in the mean, and of a line."""
AWAY = 8
"""Pixels from the middle of a point to the beginning of its name, and to the middle of its line."""
DOT = 6
"""Pixels from the middle of a point to where it ends."""


@dataclass(frozen=True)
class Point:
    """Where it is, in pixels from the left and from the bottom, and how long its name is."""

    x: float
    y: float
    letters: int


@dataclass(frozen=True)
class _Box:
    """A part of the picture, in the same pixels."""

    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: _Box) -> bool:
        """Whether they have a pixel in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top


def _beside(point: Point, side: Side, above: Side) -> _Box:
    """What a point and its name on a side of it take, with room for the next point's half."""
    end = point.x + side * (AWAY + point.letters * LETTER + DOT)
    left, right = sorted((point.x, end))
    middle = point.y + above * AWAY
    return _Box(left, right, middle - LINE / 2, middle + LINE / 2)


def sides(
    points: Sequence[Point], width: float, *, first: Side, above: Side
) -> Iterator[Side | None]:
    """The side on which each point's name meets no other, no point, and not the picture's edge.

    None where there is no such side. One that has room also has it in a wider picture.

    Args:
        points: those that choose first before others
        width: pixels of the picture
        first: the side that is better if there is room on both
        above: whether names are above the middles of points, or below
    """
    # Of no width: a point that is not on a name's side will not come there in a wider picture.
    dots = [_Box(each.x, each.x, each.y - DOT, each.y + DOT) for each in points]
    names: list[_Box] = []
    tried: tuple[Side, Side] = (-1, 1) if first < 0 else (1, -1)
    for point in points:
        for side in tried:
            box = _beside(point, side, above)
            inside = box.left >= 0 and box.right <= width
            if inside and not any(map(box.meets, [*dots, *names])):
                names.append(box)
                yield side
                break
        else:
            yield None
