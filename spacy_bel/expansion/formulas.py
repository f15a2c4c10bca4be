"""Names of chemical elements and salts that are written as formulas.

Terminologies have "Lead" and "Potassium Chloride", seldom "Pb" or "KCl", which case folding then
makes a short form of something else.
"""

from __future__ import annotations

import re

# Spelled as in MeSH. Of symbols with one letter only K, which clinicians write for potassium: the
# others are short forms of too much else.
_METALS = {
    "Ag": "silver",
    "Al": "aluminum",
    "Au": "gold",
    "Ba": "barium",
    "Be": "beryllium",
    "Bi": "bismuth",
    "Ca": "calcium",
    "Cd": "cadmium",
    "Ce": "cerium",
    "Co": "cobalt",
    "Cr": "chromium",
    "Cs": "cesium",
    "Cu": "copper",
    "Fe": "iron",
    "Ga": "gallium",
    "Gd": "gadolinium",
    "Hg": "mercury",
    "In": "indium",
    "Ir": "iridium",
    "K": "potassium",
    "La": "lanthanum",
    "Li": "lithium",
    "Mg": "magnesium",
    "Mn": "manganese",
    "Mo": "molybdenum",
    "Na": "sodium",
    "Ni": "nickel",
    "Os": "osmium",
    "Pb": "lead",
    "Pd": "palladium",
    "Pt": "platinum",
    "Ra": "radium",
    "Rb": "rubidium",
    "Rh": "rhodium",
    "Ru": "ruthenium",
    "Sb": "antimony",
    "Sn": "tin",
    "Sr": "strontium",
    "Tc": "technetium",
    "Ti": "titanium",
    "Tl": "thallium",
    "Zn": "zinc",
    "Zr": "zirconium",
}
_OTHERS = {
    "As": "arsenic",
    "Br": "bromine",
    "Cl": "chlorine",
    "He": "helium",
    "Kr": "krypton",
    "Ne": "neon",
    "Rn": "radon",
    "Se": "selenium",
    "Si": "silicon",
    "Te": "tellurium",
    "Xe": "xenon",
}
_ELEMENTS = {**_METALS, **_OTHERS}
_CATIONS = {**_METALS, "NH4": "ammonium"}
_ANIONS = {
    "Br": "bromide",
    "CN": "cyanide",
    "CO3": "carbonate",
    "Cl": "chloride",
    "F": "fluoride",
    "HCO3": "bicarbonate",
    "I": "iodide",
    "NO2": "nitrite",
    "NO3": "nitrate",
    "O": "oxide",
    "OH": "hydroxide",
    "PO4": "phosphate",
    "S": "sulfide",
    "SO3": "sulfite",
    "SO4": "sulfate",
}
# MEDLINE writes subscripts in brackets: "CaCl(2)", "PGE(2)".
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z])\((\d{1,2})\)")
_ELEMENT = re.compile(rf"({'|'.join(_ELEMENTS)})(?:\(?[1-4]?[+-]\)?)?")
_SALT = re.compile(rf"({'|'.join(_CATIONS)})\d?\(?({'|'.join(_ANIONS)})\)?\d?")


def formula_name(text: str) -> str | None:
    """The name of a chemical element, its ion, or a salt; None if the text is none as a whole.

    "Pb" is "lead", "Ca(2+)" is "calcium", "ZnSO(4)" is "zinc sulfate". Case counts.
    """
    formula = without_subscripts(text)
    if element := _ELEMENT.fullmatch(formula):
        return _ELEMENTS[element[1]]
    if salt := _SALT.fullmatch(formula):
        return f"{_CATIONS[salt[1]]} {_ANIONS[salt[2]]}"
    return None


def without_subscripts(text: str) -> str:
    """The text with the numbers that MEDLINE puts in brackets after letters as plain digits."""
    return _SUBSCRIPT.sub(r"\1", text)
