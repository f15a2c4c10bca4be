"""The 127 semantic types of UMLS, their places in the Semantic Network and their 15 groups.

Data: U.S. National Library of Medicine, Semantic Network (``SRDEF``) and Semantic Groups
(``SemGroups.txt``); McCray et al. 2001. ST21pv: Mohan & Li 2019, arXiv 1902.09476.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spacy_bel.errors import UnknownGroupError

GROUPS: Mapping[str, str] = {
    "ACTI": "Activities & Behaviors",
    "ANAT": "Anatomy",
    "CHEM": "Chemicals & Drugs",
    "CONC": "Concepts & Ideas",
    "DEVI": "Devices",
    "DISO": "Disorders",
    "GENE": "Genes & Molecular Sequences",
    "GEOG": "Geographic Areas",
    "LIVB": "Living Beings",
    "OBJC": "Objects",
    "OCCU": "Occupations",
    "ORGA": "Organizations",
    "PHEN": "Phenomena",
    "PHYS": "Physiology",
    "PROC": "Procedures",
}

_TYPES = {
    "ACTI": "T051 B, T052 B1, T053 B1.1, T054 B1.1.1, T055 B1.1.2, T056 B1.2, T057 B1.3, "
    "T064 B1.3.3, T066 B1.4",
    "ANAT": "T017 A1.2, T018 A1.2.1, T021 A1.2.3, T022 A2.1.4.1, T023 A1.2.3.1, T024 A1.2.3.2, "
    "T025 A1.2.3.3, T026 A1.2.3.4, T029 A2.1.5.2, T030 A2.1.5.1, T031 A1.4.2",
    "CHEM": "T103 A1.4.1, T104 A1.4.1.2, T109 A1.4.1.2.1, T114 A1.4.1.2.1.5, T116 A1.4.1.2.1.7, "
    "T120 A1.4.1.1, T121 A1.4.1.1.1, T122 A1.4.1.1.2, T123 A1.4.1.1.3, T125 A1.4.1.1.3.2, "
    "T126 A1.4.1.1.3.3, T127 A1.4.1.1.3.4, T129 A1.4.1.1.3.5, T130 A1.4.1.1.4, T131 A1.4.1.1.5, "
    "T192 A1.4.1.1.3.6, T195 A1.4.1.1.1.1, T196 A1.4.1.2.3, T197 A1.4.1.2.2, T200 A1.3.3",
    "CONC": "T077 A2, T078 A2.1, T079 A2.1.1, T080 A2.1.2, T081 A2.1.3, T082 A2.1.5, T089 A2.4.2, "
    "T102 A2.8, T169 A2.1.4, T170 A2.4, T171 A2.5, T185 A2.4.1",
    "DEVI": "T074 A1.3.1, T075 A1.3.2, T203 A1.3.1.1",
    "DISO": "T019 A1.2.2.1, T020 A1.2.2.2, T033 A2.2, T037 B2.3, T046 B2.2.1.2, T047 B2.2.1.2.1, "
    "T048 B2.2.1.2.1.1, T049 B2.2.1.2.2, T050 B2.2.1.2.3, T184 A2.2.2, T190 A1.2.2, "
    "T191 B2.2.1.2.1.2",
    "GENE": "T028 A1.2.3.5, T085 A2.1.5.3, T086 A2.1.5.3.1, T087 A2.1.5.3.2, T088 A2.1.5.3.3",
    "GEOG": "T083 A2.1.5.4",
    "LIVB": "T001 A1.1, T002 A1.1.3.3, T004 A1.1.3.2, T005 A1.1.4, T007 A1.1.2, T008 A1.1.3.1, "
    "T010 A1.1.3.1.1, T011 A1.1.3.1.1.1, T012 A1.1.3.1.1.2, T013 A1.1.3.1.1.3, "
    "T014 A1.1.3.1.1.5, T015 A1.1.3.1.1.4, T016 A1.1.3.1.1.4.1, T096 A2.9, T097 A2.9.1, "
    "T098 A2.9.2, T099 A2.9.3, T100 A2.9.4, T101 A2.9.5, T194 A1.1.1, T204 A1.1.3",
    "OBJC": "T071 A, T072 A1, T073 A1.3, T167 A1.4, T168 A1.4.3",
    "OCCU": "T090 A2.6, T091 A2.6.1",
    "ORGA": "T092 A2.7, T093 A2.7.1, T094 A2.7.2, T095 A2.7.3",
    "PHEN": "T034 A2.2.1, T038 B2.2.1, T067 B2, T068 B2.1, T069 B2.1.1, T070 B2.2",
    "PHYS": "T032 A2.3, T039 B2.2.1.1, T040 B2.2.1.1.1, T041 B2.2.1.1.1.1, T042 B2.2.1.1.2, "
    "T043 B2.2.1.1.3, T044 B2.2.1.1.4, T045 B2.2.1.1.4.1, T201 A2.3.1",
    "PROC": "T058 B1.3.1, T059 B1.3.1.1, T060 B1.3.1.2, T061 B1.3.1.3, T062 B1.3.2, "
    "T063 B1.3.2.1, T065 B1.3.4",
}
# Types of releases before 2014, at the places where their concepts are today.
_FORMER_TYPES = {
    "CHEM": "T110 A1.4.1.2.1.9.1, T111 A1.4.1.2.1.9.2, T115 A1.4.1.2.1.6, T118 A1.4.1.2.1.8, "
    "T119 A1.4.1.2.1.9, T124 A1.4.1.1.3.1",
    "LIVB": "T003 A1.1.3.3, T006 A1.1.2, T009 A1.1.3.1",
}


def _pairs(types: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    for group, places in types.items():
        for place in places.split(", "):
            tui, tree_number = place.split(" ")
            yield tui, tree_number, group


# Group abbreviation and tree number by TUI.
GROUP_OF_TYPE: Mapping[str, str] = {tui: group for tui, _, group in _pairs(_TYPES)}
_ALL_GROUPS = {tui: group for tui, _, group in _pairs(_FORMER_TYPES)} | dict(GROUP_OF_TYPE)
TREE_NUMBERS: Mapping[str, str] = {
    tui: number for types in (_FORMER_TYPES, _TYPES) for tui, number, _ in _pairs(types)
}

ST21PV_ROOTS = (
    *("T005", "T007", "T017", "T022", "T031", "T033", "T037", "T038", "T058", "T062", "T074"),
    *("T082", "T091", "T092", "T097", "T098", "T103", "T168", "T170", "T201", "T204"),
)
_ST21PV = "st21pv"
SUBSETS = (_ST21PV,)


def group_name(tui: str) -> str | None:
    """The semantic group of a semantic type, None if the type is unknown."""
    group = _ALL_GROUPS.get(tui)
    return None if group is None else GROUPS[group]


def types_below(roots: Iterable[str]) -> set[str]:
    """The semantic types at or below others in the Semantic Network."""
    numbers = [TREE_NUMBERS[root] for root in roots]
    return {
        tui
        for tui, place in TREE_NUMBERS.items()
        if any(place == number or place.startswith(f"{number}.") for number in numbers)
    }


def select_types(chosen: Iterable[str]) -> set[str]:
    """Semantic types by TUI, group abbreviation, group name, or subset ("st21pv").

    A TUI stands for itself, ST21pv for its 21 types and all below them.
    Raises UnknownGroupError for anything else.
    """
    types: set[str] = set()
    for one in chosen:
        if one.upper() in TREE_NUMBERS:
            types.add(one.upper())
        elif one.lower() == _ST21PV:
            types |= types_below(ST21PV_ROOTS)
        else:
            names = {abbreviation for abbreviation, name in GROUPS.items() if one == name}
            group = one.upper() if one.upper() in GROUPS else next(iter(names), None)
            if group is None:
                raise UnknownGroupError(
                    f"UMLS has no semantic type or group {one!r}: use a TUI like T047, "
                    f"{_ST21PV}, or one of {', '.join(GROUPS)}."
                )
            types |= {tui for tui, other in _ALL_GROUPS.items() if other == group}
    return types
