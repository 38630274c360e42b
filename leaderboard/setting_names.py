"""What settings are called, and the groups of one that are of different folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from serbench.harness.metrics import folds_told
from serbench.leaderboard import tables
from serbench.leaderboard.configurations import Group
from serbench.leaderboard.settings import FACTS, Setting

__all__ = ["group_names", "setting_names"]


def setting_names(settings: Sequence[Setting]) -> list[str]:
    """A name for each, no two alike: with what tells it from another that would be called so."""
    short = [tables.setting(setting) for setting in settings]
    count = Counter(short)
    return [
        f"{name}; {_apart(setting, _called(name, settings, short))}" if count[name] > 1 else name
        for name, setting in zip(short, settings, strict=True)
    ]


def _called(name: str, settings: Sequence[Setting], names: Sequence[str]) -> list[Setting]:
    return [setting for setting, its in zip(settings, names, strict=True) if its == name]


def _apart(setting: Setting, alike: Sequence[Setting]) -> str:
    """The facts in which settings of one name differ."""
    differing = [
        fact
        for fact in FACTS
        if any(getattr(other, fact) != getattr(setting, fact) for other in alike)
    ]
    return ", ".join(
        f"{fact.replace('_', ' ')} {getattr(setting, fact) or 'unknown'}" for fact in differing
    )


def group_names(groups: Sequence[Group]) -> dict[str, str]:
    """What each group of a setting is called, by its `name`: which folds its scores are of."""
    names = {group.name: _folds_name(group) for group in groups}
    count = Counter(names.values())
    return {key: f"{name} ({key})" if count[name] > 1 else name for key, name in names.items()}


def _folds_name(group: Group) -> str:
    first = group.members[0]
    if not first.folds:
        well = any(member.seeds for member in group.members)
        return "the corpus's split" if well else "no run that ended well"
    return folds_told({"folds": first.newest["folds"], "fold_numbers": first.fold_numbers})
