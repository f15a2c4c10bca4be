"""What the benchmark of memory puts before its models, and what it makes of their links."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks import memory_ablation, memory_rows
from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.longbel.training.report import Reason
from tests.longbel.conftest import make_kb
from tests.longbel.helpers import MENTIONS, TEXT, make_document, make_engine


def test_with_gold_memory_each_mention_reads_the_gold_names_before_it(llama, kb):
    engine = make_engine(llama, kb, "hybrid_short", num_beams=1)
    document = make_document(TEXT, MENTIONS)
    names = [("cephalalgia",), Reason.composite, ("cold",)]
    prompts = [
        llama.tokenizer.decode(trace[-1].prompt)
        for trace in engine.trace(memory_rows.behind_gold(document, names))
    ]
    assert len(prompts) == 3
    assert "None" in prompts[0]
    # What has no gold name leaves no line, whatever a model would have linked it to.
    for prompt in prompts[1:]:
        assert prompt.count("[headache]{Disorders} cephalalgia") == 1
        assert prompt.count("{Disorders}") + prompt.count("{Phenomena}") == 2


def test_emptied_memory_shows_nothing(llama, kb):
    document = make_document(TEXT, MENTIONS)
    engine = make_engine(llama, kb, "hybrid_short", num_beams=1, accept=lambda candidate: False)
    (traces,) = engine.trace([document])
    assert all("None" in llama.tokenizer.decode(trace.prompt) for trace in traces)


def test_the_ensemble_ranks_what_its_members_agree_on_first():
    def run(*codes):
        links = [Candidate(code, code, -float(i)) for i, code in enumerate(codes)]
        return [CorpusDocument("1", "a", annotations=[Annotation(0, 1, "a", "", links=links)])]

    (document,) = memory_ablation.fused([run("A", "B", "C"), run("B", "A"), run("B", "D")])
    codes = [link.code for link in document.annotations[0].links]
    assert codes[:2] == ["B", "A"] and set(codes) == set("ABCD")


@pytest.mark.parametrize("prompt", ["short", "hybrid_long", "long"])
def test_examples_of_names_teach_a_name_of_the_concept(prompt):
    kb = make_kb(
        [
            ("D1", "Disorders", ["heart attack", "Infarction, cardiac", "coronary"]),
            ("D2", "Disorders", ["asthma"]),
        ]
    )
    found = list(islice(memory_rows.name_examples(kb, prompt, 0), 400))
    targets = [example.turns[0].names for example in found]
    assert {name for (name,) in targets} == set(kb.names())
    again = islice(memory_rows.name_examples(kb, prompt, 0), 400)
    assert [e.turns for e in again] == [e.turns for e in found]
    disturbed = 0
    for example in found:
        (turn,) = example.turns
        assert turn.prompt.endswith("]{Disorders}")
        mention = turn.prompt.rpartition("\n[")[2].removesuffix("]{Disorders}")
        assert f"### Context\n[{mention}]" in turn.prompt
        owner = {name.lower(): code for code in kb for name in kb[code].names}.get(mention)
        disturbed += owner is None
        if owner is not None:
            assert turn.names[0] in kb[owner].names
    assert 100 < disturbed < 300
