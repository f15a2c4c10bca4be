"""A terminology, documents whose mentions carry candidates, and pipelines that re-order these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docs import examples
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder

CONCEPTS = {
    "D1": ("heart attack", "myocardial infarction", "MI"),
    "D2": ("acute renal failure", "renal failure"),
    "D3": ("chronic ataxia", "ataxia"),
    "D4": ("respiratory failure", "failure"),
    "D5": ("obstructive disease", "MI"),
}
#: surface, gold code, codes of the candidates.
Row = tuple[str, str, list[str]]
#: "MI" has the same candidates twice: only the context tells which one is meant.
TEXTS: list[tuple[str, list[Row]]] = [
    (
        "acute MI on chronic. renal failure with ataxia",
        [
            ("MI", "D1", ["D5", "D1", "D3"]),
            ("renal failure", "D2", ["D4", "D2"]),
            ("ataxia", "D3", ["D3", "D1", "D2"]),
        ],
    ),
    (
        "obstructive pulmonary MI and respiratory failure",
        [("MI", "D5", ["D5", "D1", "D3"]), ("respiratory failure", "D4", ["D2", "D4"])],
    ),
    ("no heart attack", [("heart attack", "D1", ["D3", "D1"])]),
]
#: The same with a mention of which no candidate is right.
WITH_NIL = [
    *TEXTS,
    ("telangiectasia on chronic", [("telangiectasia", "NIL", ["D3", "D1", "D2"])]),
]


def write_kb(path: Path, definitions: bool = False) -> KnowledgeBase:
    builder = KnowledgeBaseBuilder("tiny")
    for code, names in CONCEPTS.items():
        about = f"About {names[0]}." if definitions else ""
        builder.add(Concept(code=code, names=names, groups=("Disorders",), definition=about))
    builder.write(path)
    return KnowledgeBase.from_disk(path)


def records(texts: Sequence[tuple[str, list[Row]]] = TEXTS) -> list[CorpusDocument]:
    found = []
    for number, (text, rows) in enumerate(texts):
        at, annotations = 0, []
        for surface, gold, codes in rows:
            start = text.index(surface, at)
            at = start + len(surface)
            links = [
                Candidate(code, CONCEPTS.get(code, ("?",))[0], 1 / rank)
                for rank, code in enumerate(codes, 1)
            ]
            wanted = [] if gold == "NIL" else [[part] for part in gold.split("+")]
            annotations.append(Annotation(start, at, surface, "Disorders", wanted, links=links))
        found.append(CorpusDocument(str(number), text, annotations=annotations))
    return found


def samples(nlp: Language, texts: Sequence[tuple[str, list[Row]]] = TEXTS) -> list[Example]:
    return list(examples(records(texts), nlp))


def make_nlp(kb: Path | dict[str, str], encoder: Path, **settings: object) -> Language:
    """A pipeline with bel_crossencoder; settings of its model are those that the model has."""
    model = {"@architectures": "spacy_bel.CrossEncoder.v1", "encoder": str(encoder)}
    for setting in (
        *("layout", "attention", "repeat_mention", "markers", "max_length", "input_tokens"),
        "dtype",
    ):
        if setting in settings:
            model[setting] = settings.pop(setting)
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "bel_crossencoder",
        config={"kb": kb if isinstance(kb, dict) else str(kb), "model": model, **settings},
    )
    return nlp


def links(docs: Iterable[spacy.tokens.Doc]) -> list[tuple[str, list[str]]]:
    return [
        (ent.kb_id_, [candidate.code for candidate in ent._.kb_candidates])
        for doc in docs
        for ent in doc.ents
    ]


def scores(docs: Iterable[spacy.tokens.Doc]) -> list[float]:
    return [c.score for doc in docs for ent in doc.ents for c in ent._.kb_candidates]


def train(
    nlp: Language,
    found: Sequence[Example],
    *,
    steps: int,
    optimizer: object,
    below: float = 0.0,
    drop: float = 0.0,
) -> list[float]:
    """The loss of each update; stops below some loss."""
    losses: list[float] = []
    while len(losses) < steps and (not losses or losses[-1] > below):
        losses.append(nlp.update(found, sgd=optimizer, drop=drop)["bel_crossencoder"])
    return losses
