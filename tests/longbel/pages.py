"""BigBio-KB pages written for the tests."""

from __future__ import annotations

import re


def make_page(identifier, passages, entities):
    """passages: texts. entities: (fragments, type, code, name), found in the joined passages."""
    whole = "\n".join(passages)
    starts = [0]
    for text in passages:
        starts.append(starts[-1] + len(text) + 1)
    return {
        "id": identifier,
        "document_id": "not read",
        "passages": [
            {"id": str(i), "type": "text", "text": [t], "offsets": [[s, s + len(t)]]}
            for i, (t, s) in enumerate(zip(passages, starts, strict=False))
        ],
        "entities": [
            {
                "id": f"T{i}",
                "type": kind,
                "text": fragments,
                "offsets": [[(at := whole.index(f)), at + len(f)] for f in fragments],
                "normalized": [{"db_name": "X", "db_id": code, "db_match": name}] if code else [],
            }
            for i, (fragments, kind, code, name) in enumerate(entities)
        ],
    }


def starts_after_full_stops(text):
    return [0, *(match.end() for match in re.finditer(r"\. |\.\n", text))]


#: Three passages; nested, discontinuous and same-span mentions, not in their order.
PAGE = make_page(
    "p1",
    ["A cold case", "Pain in the left arm and leg {acute}.", "No cold\u00a0fever.\nCold again."],
    [
        (["Pain in the", "leg"], "Disorders", "D2", "Leg pain"),
        (["cold"], "Disorders", "D1", "Cold"),
        (["cold\u00a0fever"], "Phenomena", "P1", "Heat"),
        (["cold\u00a0fever"], "Disorders", "D4", "Fever"),
        (["Pain in the left arm"], "Disorders", "D3", "Arm pain"),
        (["Cold"], "Phenomena", None, None),
    ],
)

CLINICAL = make_page(
    "001",
    ["Chez une femme enceinte, des céphalées et une protéinurie font craindre une pré-éclampsie."],
    [
        (["femme enceinte"], "Living Beings", "C0033011", "Femmes enceintes"),
        (["céphalées"], "Disorders", None, None),
        (["protéinurie"], "Disorders", "C0033687", "Protéinurie"),
        (["pré-éclampsie"], "Disorders", None, None),
    ],
)
