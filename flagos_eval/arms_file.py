"""A TOML file -> the arms of an experiment: what they have in common, what each has of its own, and
which are compared.

It fails closed: an unknown key, an arm that does not exist or a pair of one is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import catalog, config
from .config import RunConfig
from .errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
VERSUS = "-vs-"
"""Between the names of two arms in the name of their comparison's file."""

Pair = tuple[str, str]
"""Two arms that are compared, the one that counts as the reference first."""


@dataclass(frozen=True)
class Arm:
    """One arm."""

    name: str
    settings: Mapping[str, Any]
    """Its own, over what is common."""
    reference: str | None = None
    """A finished run that is this arm, which is therefore not run."""
    repeat_of: str | None = None
    """The arm that it repeats: what differs between the two is noise."""


@dataclass(frozen=True)
class ArmsFile:
    """An experiment as it was written down."""

    common: Mapping[str, Any]
    arms: tuple[Arm, ...]
    baseline: str
    pairs: tuple[Pair, ...]
    max_age: float | None = None
    """Days since a kept reference ended, at most; None takes the default."""

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def settings(self, arm: Arm) -> dict[str, Any]:
        """What the file says of an arm: the common settings, under its own or those it repeats."""
        own = self.arm(arm.repeat_of).settings if arm.repeat_of else arm.settings
        return {**self.common, **own}


def read(path: Path) -> ArmsFile:
    """The arms of a file.

    Raises:
        FileError: it cannot be read.
        UsageError: it is no file of arms; says where and why.
    """
    return parse(config.read_toml(path), str(path))


def parse(content: Mapping[str, Any], where: str) -> ArmsFile:
    """Check a file's content; `where` is for the messages.

    Raises:
        UsageError: it is no file of arms; says where and why.
    """
    top = config.named(content, where)
    tables = _table(top.pop("arms", None), f"{where}: [arms]")
    shared = _table(top.pop("common", {}), f"{where}: [common]")
    baseline, compare = top.pop("baseline", None), top.pop("compare", None)
    max_age = _days(top.pop("reference_max_age", None), where)
    common = config.named(shared, f"{where}: [common]")
    twice = sorted(top.keys() & common.keys())
    if twice:
        raise UsageError(f"{where}: {twice[0]!r} is there twice, in [common] and above it")
    common |= top
    _known(common, where)
    arms = tuple(_arm(name, table, where) for name, table in tables.items())
    _related(arms, where)
    names = [arm.name for arm in arms if arm.repeat_of is None]
    chosen = _baseline(arms, baseline, where)
    pairs = _default(chosen, names) if compare is None else _pairs(compare, arms, where)
    return ArmsFile(common, arms, chosen, pairs, max_age)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be a table", hint="docs/arms.md has an example")
    return value


def _days(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UsageError(f"{where}: reference-max-age = {value!r}: a number of days")
    return float(value)


def _known(settings: Mapping[str, Any], where: str) -> None:
    for name in settings:
        if name in ("name", "arm"):
            raise UsageError(f"{where}: {name!r} is not set: a run is named as its arm")
        if name not in RunConfig.model_fields:
            raise UsageError(
                f"{where}: there is no setting {name!r}", hint="flagos-eval run --help"
            )


def _arm(name: str, content: Any, where: str) -> Arm:
    place = f"{where}: [arms.{name}]"
    if not _NAME.fullmatch(name) or VERSUS in name:
        raise UsageError(
            f"{where}: {name!r} cannot name an arm, and so a file: up to 40 letters, digits and "
            f"'-_.+', without {VERSUS!r}"
        )
    settings = config.named(_table(content, place), place)
    reference, repeat_of = settings.pop("reference", None), settings.pop("repeat_of", None)
    for key, value in (("reference", reference), ("repeat_of", repeat_of)):
        if not (value is None or (isinstance(value, str) and value)):
            raise UsageError(f"{place}: {key} = {value!r}: a name")
    _known(settings, place)
    if settings and (reference or repeat_of):
        said = "its run's" if reference else f"those of {repeat_of!r}"
        raise UsageError(f"{place}: its settings are {said}: leave {min(settings)!r} out")
    return Arm(name, settings, reference, repeat_of)


def _related(arms: Sequence[Arm], where: str) -> None:
    if len(arms) < 2:
        raise UsageError(f"{where}: an experiment has two arms or more, as [arms.NAME]")
    if all(arm.reference for arm in arms):
        raise UsageError(
            f"{where}: every arm is a kept run, and there is nothing to run",
            hint="flagos-eval compare REFERENCE CANDIDATE",
        )
    found = {arm.name: arm for arm in arms}
    for arm in arms:
        if arm.repeat_of is None:
            continue
        of = _named(arm.repeat_of, found, f"{where}: [arms.{arm.name}]: repeat_of")
        if found[of].repeat_of is not None:
            raise UsageError(f"{where}: [arms.{arm.name}] repeats {of!r}, which is a repetition")
        if found[of].reference and not arm.reference:
            raise UsageError(
                f"{where}: [arms.{arm.name}] repeats {of!r}, a kept run: give its run too, as "
                "reference"
            )


def _named(value: Any, known: Mapping[str, Arm], where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where} = {value!r}: the name of an arm")
    if value not in known:
        raise catalog.unknown("arm", value, known, hint=where)
    return value


def _baseline(arms: Sequence[Arm], given: Any, where: str) -> str:
    """The arm that was named, or else the first kept run, or else the first arm."""
    single = {arm.name: arm for arm in arms if arm.repeat_of is None}
    if given is not None:
        return _named(given, single, f"{where}: baseline")
    kept = [name for name, arm in single.items() if arm.reference]
    return next(iter([*kept, *single]))


def _default(baseline: str, names: Sequence[str]) -> tuple[Pair, ...]:
    """Every arm against the baseline, and each of the others against the one before it: where arms
    are listed one change after the other, the first say what all changes do together, and the
    second what each does alone."""
    others = [name for name in names if name != baseline]
    return (*((baseline, name) for name in others), *pairwise(others))


def _pairs(given: Any, arms: Sequence[Arm], where: str) -> tuple[Pair, ...]:
    known = {arm.name: arm for arm in arms}
    place = f"{where}: compare"
    if not isinstance(given, list | tuple) or not given:
        raise UsageError(f'{place}: a list of pairs, as [["native", "gems"]]')
    found: list[Pair] = []
    for entry in given:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise UsageError(f'{place}: {entry!r} is no pair, as ["native", "gems"]')
        one, other = (_named(name, known, place) for name in entry)
        if one == other or (one, other) in found:
            what = "an arm and itself" if one == other else "there twice"
            raise UsageError(f"{place}: {one!r} and {other!r}: {what}")
        found.append((one, other))
    return tuple(found)
