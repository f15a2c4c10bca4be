"""American spelling of names that are written as in Britain.

Terminologies made in America know "hematuria" and need not know "haematuria", which n-grams and
encoders then take for "haemolysis".
"""

from __future__ import annotations

import re

# Stems rather than letters: "aerobic" and "toes" stay as they are.
_AMERICAN = {
    "aem": "em",
    "aesth": "esth",
    "aetiol": "etiol",
    "aluminium": "aluminum",
    "behaviour": "behavior",
    "caec": "cec",
    "caesar": "cesar",
    "centre": "center",
    "coelia": "celia",
    "colour": "color",
    "faec": "fec",
    "fibre": "fiber",
    "foet": "fet",
    "goitre": "goiter",
    "gynaec": "gynec",
    "haem": "hem",
    "homoeo": "homeo",
    "leuco": "leuko",
    "odour": "odor",
    "oedem": "edem",
    "oesoph": "esoph",
    "oestr": "estr",
    "paed": "ped",
    "pnoea": "pnea",
    "rrhoe": "rrhe",
    "sulph": "sulf",
    "tumour": "tumor",
}
# "Angioedema" and "gastroesophageal" are of two words, of which the first ends with the o.
_NOT_BRITISH = "(?<!angi)(?<!gastr)(?!leucovorin)"
_BRITISH = re.compile(f"{_NOT_BRITISH}(?:{'|'.join(_AMERICAN)})", re.IGNORECASE)


def american(text: str) -> str:
    """The text with British stems in American spelling, upper case where they had it."""
    return _BRITISH.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    british = match[0]
    word = _AMERICAN[british.lower()]
    if british.isupper():
        return word.upper()
    return word.capitalize() if british[0].isupper() else word
