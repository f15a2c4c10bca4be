from __future__ import annotations

import pytest

from spacy_bel.kb import Concept, KnowledgeBaseBuilder

CONCEPTS = [
    Concept(
        code="T:1",
        names=("Heart attack", "myocardial infarction", "MI"),
        groups=("Disorder",),
        definition="Death of heart muscle.",
        cross_references=("UMLS:C0000001", "MESH:D000001", "UMLS:C0000002"),
        parents=("T:4",),
        alternative_codes=("OLD:1", "OLD:11"),
    ),
    Concept(code="T:2", names=("Mitral insufficiency", "mi"), groups=("Disorder", "Finding")),
    Concept(code="T:3", names=("  Aspirin\x00 ", "Aspirin", "", "\t"), groups=("Drug",)),
    Concept(code="T:4", names=("Maladie cardiaque é", "心臓病"), groups=("Disorder",)),
]


@pytest.fixture
def concepts() -> list[Concept]:
    """What the toy terminology is made of."""
    return CONCEPTS


@pytest.fixture
def builder() -> KnowledgeBaseBuilder:
    builder = KnowledgeBaseBuilder("toy", source="made up", release="1.0", licence="CC0")
    for concept in CONCEPTS:
        builder.add(concept)
    builder.retire("GONE:1", "T:2")
    builder.retire("GONE:2")
    return builder
