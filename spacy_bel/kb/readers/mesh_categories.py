"""The categories of the MeSH tree, and what else a tree number says (https://meshb.nlm.nih.gov)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CATEGORIES: Mapping[str, str] = {
    "A": "Anatomy",
    "B": "Organisms",
    "C": "Diseases",
    "D": "Chemicals and Drugs",
    "E": "Analytical, Diagnostic and Therapeutic Techniques, and Equipment",
    "F": "Psychiatry and Psychology",
    "G": "Phenomena and Processes",
    "H": "Disciplines and Occupations",
    "I": "Anthropology, Education, Sociology, and Social Phenomena",
    "J": "Technology, Industry, and Agriculture",
    "K": "Humanities",
    "L": "Information Science",
    "M": "Named Groups",
    "N": "Health Care",
    "V": "Publication Characteristics",
    "Z": "Geographicals",
}
# The class of a supplementary record (SCRClass) as the category that its heading would be in.
RECORD_CLASSES: Mapping[str, str] = {
    "1": CATEGORIES["D"],
    "2": CATEGORIES["D"],  # chemotherapy protocols
    "3": CATEGORIES["C"],
    "4": CATEGORIES["B"],
    "5": CATEGORIES["M"],
    "6": CATEGORIES["A"],
}
UNCLASSED = "MeSH"
_MENTAL_DISORDERS = "F03"


def categories(tree_numbers: Iterable[str]) -> list[str]:
    """Groups of a heading: its categories; mental disorders (F03) are diseases, too."""
    groups: dict[str, None] = {}
    for number in tree_numbers:
        if number.split(".")[0] == _MENTAL_DISORDERS:
            groups[CATEGORIES["C"]] = None
        groups[CATEGORIES.get(number[:1], UNCLASSED)] = None
    return list(groups)


def parent_number(tree_number: str) -> str:
    """The tree number above, empty at the top."""
    return tree_number.rpartition(".")[0]
