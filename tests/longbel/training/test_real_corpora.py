"""Examples of NCBI Disease: every mention teaches a name of its gold concept, in every format."""

from __future__ import annotations

import pytest
import spacy

from spacy_bel.corpora.flags import main_code
from spacy_bel.corpora.reading import read_documents
from spacy_bel.kb.readers import read
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.building import ExampleBuilder
from spacy_bel.longbel.training.golden import golden
from spacy_bel.longbel.training.targets import LevenshteinTargets
from spacy_bel.mentions import GroupMapping


@pytest.mark.data
def test_ncbi_disease(data):
    kb = read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    corpus = data / "corpora" / "ncbi-disease" / "NCBItestset_corpus.txt"
    documents = list(
        golden(read_documents(str(corpus)), spacy.blank("en"), GroupMapping(kb, {}, "all"))
    )
    mentions = sum(len(document.document.mentions) for _, document in documents)
    assert (len(documents), mentions) == (100, 960)
    for name in ("short", "hybrid_medium", "hybrid_long"):
        builder = ExampleBuilder(kb, get_prompt(name), LevenshteinTargets())
        for id, document in documents:
            made = builder.examples(document, id)
            assert len(made) == len(document.document.mentions)
            for index, example in enumerate(made):
                (turn,) = example.turns
                mention, gold = document.document.mentions[index], document.gold[index]
                assert turn.prompt.endswith(f"[{mention.text}]{{Disease}}")
                assert turn.prompt.count("]{Disease}") == (
                    1 + index if name == "hybrid_long" else 1
                )
                assert len(turn.names) == len(gold)
                for target, alternatives in zip(turn.names, gold, strict=True):
                    wanted = {main_code(kb, code) for code in alternatives}
                    assert wanted & set(kb.find(target)), (mention.text, target)
        assert builder.report.targets == 960 and not builder.report.skipped
