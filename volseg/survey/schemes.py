"""The label scheme of cases, by file names and label values; where both leave it open, the user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from volseg.cases.case import Case
from volseg.cases.layouts import Layout
from volseg.errors import LabelError
from volseg.labels import LABEL_SCHEMES, get_scheme, schemes_fitting
from volseg.words import cases_in_words

#: `labels` that leaves the meaning of the label maps to the config, which may define its own.
FROM_CONFIG = "config"

_REMEDY = f"say it with --labels NAME, or with --labels {FROM_CONFIG} if the config is to say it"
#: Values of a label map.
Values = frozenset[int]


@dataclass(frozen=True)
class Group:
    """Cases whose label scheme has one source: file names, a `dataset.json`, the user.

    Attributes:
        source: What decides the scheme, in words.
        schemes: Schemes that the source allows; empty: any.
        values: Values of each label map, by case.
    """

    source: str
    schemes: tuple[str, ...]
    values: Mapping[str, Values]


def group_cases(
    cases: Iterable[Case], values: Mapping[str, Values], layout_of: Mapping[str, Layout]
) -> list[Group]:
    """Cases by the source of their label scheme."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, Values]] = defaultdict(dict)
    for case in cases:
        layout = layout_of[case.case_id]
        source, schemes = f"file names of {layout}", layout.schemes
        if case.labels:
            source, schemes = f"label names in the dataset.json of {layout}", (case.labels,)
        groups[source, schemes][case.case_id] = values[case.case_id]
    return [Group(*decided, of_cases) for decided, of_cases in sorted(groups.items())]


def decide_schemes(
    cases: Iterable[Case],
    values: Mapping[str, Values],
    layout_of: Mapping[str, Layout],
    asked: str | None,
) -> tuple[list[Group], dict[str, str]]:
    """Cases by the source of their label scheme, and the scheme of each.

    Args:
        cases: Some of them.
        values: Of each label map that could be read, by `case_id`.
        layout_of: Layout of each case, by `case_id`.
        asked: Name of the scheme that the user gave, or `FROM_CONFIG`; None: names and values.

    Raises:
        LabelError: If the values contradict the user, or leave the scheme of cases open.
    """
    if asked is not None:
        meant = [] if asked == FROM_CONFIG else schemes_meant(asked, values.values())
        if meant:
            raise LabelError(
                f"--labels {asked} is contradicted: the label maps hold the values "
                f"{values_in_words(values.values())}, which all fit {' or '.join(meant)}",
                remedy="say the scheme that they are in, or correct the label maps that are not",
            )
        return [Group("as asked for", (), values)], dict.fromkeys(values, asked)
    readable = [case for case in cases if case.case_id in values]
    groups = group_cases(readable, values, layout_of)
    return groups, schemes_of(groups, _REMEDY)


def schemes_of(groups: Iterable[Group], remedy: str) -> dict[str, str]:
    """Label scheme of each case.

    Args:
        groups: Cases by the source of their scheme.
        remedy: How the user can name a scheme that stays open.

    Raises:
        LabelError: If the scheme of a group stays open.
    """
    schemes: dict[str, str] = {}
    unclear = []
    for group in groups:
        scheme = _scheme_of(group)
        if scheme is not None:
            schemes |= dict.fromkeys(group.values, scheme)
            continue
        seen = _union(group.values.values())
        fitting = ", ".join(schemes_fitting(seen)) or "no label scheme"
        unclear.append(
            f"{cases_in_words(len(group.values))} with {group.source} hold the values "
            f"{values_in_words([seen])}, which fit {fitting}"
        )
    if unclear:
        raise LabelError(f"the label scheme is not clear: {'; '.join(unclear)}", remedy=remedy)
    return schemes


def _scheme_of(group: Group) -> str | None:
    """The one scheme that names and values leave, or None."""
    fitting = [
        values
        for values in group.values.values()
        if not set(group.schemes).isdisjoint(schemes_fitting(values))
    ]
    # A few bad label maps are left out; where most do not fit, the names mislead.
    if 2 * len(fitting) < len(group.values) or not group.schemes:
        return None
    if len(group.schemes) == 1:
        scheme = group.schemes[0]
        return None if schemes_meant(scheme, group.values.values()) else scheme
    seen = _union(fitting)
    possible = schemes_fitting(seen)
    first, second = (LABEL_SCHEMES[name] for name in group.schemes)
    # Without a value of one scheme alone, both must give the shared values one meaning.
    compatible = first.regions.items() <= second.regions.items()
    if first.name in possible:
        return first.name if compatible else None
    # Label maps with the values of 2022 under new names look as if they had resection cavities.
    if second.name not in possible or (compatible and "brats2021" in possible):
        return None
    return second.name


def schemes_meant(scheme: str, values: Iterable[Values]) -> list[str]:
    """Schemes with the same regions that fit all label maps, where `scheme` does not.

    If only the label maps that contradict `scheme` were left out, the evidence would go with them:
    of a set of 2021 that writes 3 for the enhancing tumour, cases without that tumour would stay.

    >>> schemes_meant("brats2021", [frozenset({0, 1, 2, 3}), frozenset({0, 2})])
    ['brats2023', 'msd']
    >>> schemes_meant("brats2021", [frozenset({0, 1, 2, 3}), frozenset({0, 4})])
    []
    """
    own = get_scheme(scheme)
    # A label map that fits no scheme is no evidence for the others.
    seen = _union(of_case for of_case in values if schemes_fitting(of_case))
    if seen - {0} <= own.labels.keys():
        return []
    return [
        name
        for name in schemes_fitting(seen)
        if LABEL_SCHEMES[name].regions.keys() == own.regions.keys()
    ]


def values_in_words(values: Iterable[Values]) -> str:
    """All values of some label maps.

    >>> values_in_words([frozenset({0, 2}), frozenset({0, 1})])
    '0 1 2'
    """
    return " ".join(map(str, sorted(_union(values))))


def _union(values: Iterable[Values]) -> Values:
    return frozenset[int]().union(*values)


def decisions_in_words(groups: Iterable[Group], schemes: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each group: the scheme of its listed cases, and its source."""
    sentences = []
    for group in groups:
        listed = {case_id: v for case_id, v in group.values.items() if case_id in schemes}
        if listed:
            scheme = schemes[next(iter(listed))]
            name = "of the config" if scheme == FROM_CONFIG else scheme
            sentences.append(
                f"labels {name} for {cases_in_words(len(listed))}: {group.source}, "
                f"values {values_in_words(listed.values())}"
            )
    return tuple(sentences)
