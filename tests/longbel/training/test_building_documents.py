"""Corpus records become what the component itself reads of a document."""

from __future__ import annotations

import pytest
import spacy

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docs import examples
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.errors import UnmappedLabelError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.building import ExampleBuilder
from spacy_bel.longbel.training.golden import golden
from spacy_bel.longbel.training.targets import TitleTargets
from spacy_bel.longbel.training.tokenizing import SequenceMaker
from spacy_bel.mentions import GroupMapping

from ..helpers import make_engine

TEXT = "Cold hands\nA heart attak. Then cold , sinus headache? (see MI); end."


def record():
    """Overlapping, unlinked, composite and empty mentions, in no order, with candidates."""

    def mention(surface, label, codes, links=(), start=None):
        at = TEXT.index(surface) if start is None else start
        return Annotation(at, at + len(surface), surface, label, codes, [], "", list(links))

    return CorpusDocument(
        "r1",
        TEXT,
        annotations=[
            mention("sinus headache", "Disorders", [["D6", "D4"]], [Candidate("D6", "MI", 0.5)]),
            mention("headache", "Disorders", [["D4"]]),
            mention("heart attak", "Disorders", [["D1"]]),
            mention("Cold", "Phenomena", [["P1"]]),
            mention("cold", "Phenomena", []),
            mention("?", "Disorders", [["D1"]]),
            mention("MI", "Disorders", [["D1"], ["D2"]]),
        ],
        passages=[(0, 10), (11, len(TEXT))],
    )


def test_documents_are_those_of_the_component(kb, make_nlp):
    nlp = make_nlp(spans_key="mentions", candidates=1, score="probability")
    linker = nlp.get_pipe("longbel_linker")
    linker.prepare()
    (example,) = examples([record()], nlp)
    marked = linker.mark(example.predicted)
    ((id, found),) = golden([record()], nlp, linker.mapping)
    assert id == "r1"
    assert found.document == linker.document_of(marked, linker.read_mentions(marked))
    assert [mention.text for mention in found.document.mentions] == [
        "Cold",
        "heart attak",
        "cold",
        "sinus headache",
        "headache",
        "MI",
    ]
    assert found.gold == {
        0: [["P1"]],
        1: [["D1"]],
        3: [["D6", "D4"]],
        4: [["D4"]],
        5: [["D1"], ["D2"]],
    }
    assert found.document.mentions[3].retrieved == (Candidate("D6", "MI", 0.5),)
    ((_, entities),) = golden([record()], nlp, linker.mapping, None)
    assert "headache" not in [mention.text for mention in entities.document.mentions]
    assert len(entities.document.mentions) == 5


def test_labels_that_are_no_groups_are_treated_as_asked(kb):
    nlp = spacy.blank("en")
    odd = record()
    odd.annotations[2].type = "Odd"
    with pytest.raises(UnmappedLabelError, match="'Odd'"):
        list(golden([odd], nlp, GroupMapping(kb, {}, "error")))
    ((_, skipped),) = golden([odd], nlp, GroupMapping(kb, {}, "skip"))
    assert "heart attak" not in [mention.text for mention in skipped.document.mentions]
    ((_, mapped),) = golden([odd], nlp, GroupMapping(kb, {"Odd": "Disorders"}, "error"))
    assert mapped.document.mentions[1].groups == ("Disorders",)


@pytest.mark.parametrize("prompt", ["long", "hybrid_long", "short"])
def test_tokens_are_those_that_the_engine_reads_and_generates(kb, llama, prompt):
    """With links that are all gold, what is learned stands where the engine generates it."""
    nlp = spacy.blank("en")
    plain = record()
    del plain.annotations[-1]  # of several concepts, for which this tokenizer has no separator
    ((_, gold),) = golden([plain], nlp, GroupMapping(kb, {}, "error"))
    builder = ExampleBuilder(kb, get_prompt(prompt), TitleTargets())
    maker = SequenceMaker(llama, get_prompt(prompt))
    assert isinstance(llama, CausalLanguageModel)
    engine = make_engine(llama, kb, prompt)
    compared = 0
    for sequence in maker.sequences(builder.examples(gold)):
        for start, end in sequence.learned:
            node = engine.trie.trie.find(sequence.ids[start:end].tolist())
            names = {kb.name(int(i)) for i in engine.trie.trie.sequences_at(node)}
            assert names & {"cold", "heart attack", "sinus headache", "headache"}
            text = llama.tokenizer.decode(sequence.ids[:start])
            again = engine.tokenizer.encode(text.removeprefix("<s>"))
            assert again == sequence.ids[:start].tolist()
            compared += 1
    assert compared == 4


def test_short_forms_are_written_out_as_the_component_does(kb, make_nlp, tmp_path, monkeypatch):
    """Fold models learn from the mentions that they will read."""
    from spacy_bel.longbel.training import fold_models
    from spacy_bel.longbel.training.settings import TrainingSettings
    from spacy_bel.longbel.training.targets import TitleTargets

    text = "Severe heart attack (HA) came first. HA again."
    places = [(7, 19), (21, 23), (37, 39)]
    document = CorpusDocument(
        "1",
        text,
        annotations=[Annotation(a, b, text[a:b], "Disorders", [["D1"]]) for a, b in places],
    )
    nlp = make_nlp(spans_key="mentions", abbreviations=True, prompt="short")
    linker = nlp.get_pipe("longbel_linker")
    (example,) = examples([document], nlp)
    (expected,) = linker.gold_documents([example])
    ((_, found),) = golden([document], nlp, linker.mapping, abbreviations=True)
    assert [m.text for m in found.document.mentions] == ["heart attack"] * 3
    assert found.document.mentions == expected.document.mentions
    learned = []
    monkeypatch.setattr(fold_models, "train", lambda *args: learned.extend(args[2]))
    models = fold_models.FoldModels(
        nlp, linker, linker.language_model, TitleTargets(), TrainingSettings(epochs=1)
    )
    models.train([document], tmp_path)
    assert [e.turns[0].prompt.rpartition("\n")[2] for e in learned] == (
        ["[heart attack]{Disorders}"] * 3
    )
