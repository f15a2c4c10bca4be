"""What an index costs, measured in processes of its own."""

from __future__ import annotations

import os

import pytest

from spacy_bel.errors import FootprintError, KnowledgeBaseError
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.footprint import measure_footprint
from spacy_bel.retriever.ngrams import NgramRetriever


def knowledge_base():
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("A", ("ataxia",), ("P",)))
    builder.add(Concept("B", ("tremor",), ("P",)))
    return builder.build()


class Exits(ExactRetriever):
    """Dies as a process does that the system kills for its memory."""

    def build(self, kb, *, progress=False):
        os._exit(9)


def test_costs_are_measured_apart(tmp_path):
    kb = knowledge_base()
    costs = measure_footprint(ExactRetriever(), kb, tmp_path, ["ataxia", "Ataxia", "rash"], k=3)
    files = [file for file in (tmp_path / "index").rglob("*") if file.is_file()]
    assert costs.disk_bytes == sum(file.stat().st_size for file in files) > 0
    assert (costs.mentions, costs.k) == (2, 3)
    assert min(costs.mentions_per_second, costs.build_seconds, costs.open_seconds) > 0
    # An interpreter with numpy takes tens of megabytes.
    assert 10e6 < costs.resident_bytes <= costs.peak_bytes < 10e9
    assert 10e6 < costs.build_peak_bytes < 10e9
    index = ExactRetriever().from_disk(tmp_path / "index", KnowledgeBase.from_disk(tmp_path / "kb"))
    assert [hit[0] for hit in index.search(["ataxia"])[0]] == ["A"]


def test_what_building_says_is_raised(tmp_path):
    with pytest.raises(KnowledgeBaseError, match="lower min_df"):
        measure_footprint(NgramRetriever(min_df=99), knowledge_base(), tmp_path, [])


def test_a_killed_process_is_told(tmp_path):
    with pytest.raises(FootprintError, match="more memory"):
        measure_footprint(Exits(), knowledge_base(), tmp_path, ["ataxia"])
