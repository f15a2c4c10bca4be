import json

import pytest
import spacy
from spacy.util import registry

from spacy_bel.candidates import Candidate, set_candidates

PUBTATOR = (
    "1|t|Ataxia and tremor\n1|a|\n1\t0\t6\tAtaxia\tFinding\tC1\n1\t11\t17\ttremor\tFinding\tC2\n"
)
PAGE = {
    "id": "1",
    "passages": [{"text": ["Ataxia and tremor\n"], "offsets": [[0, 18]]}],
    "entities": [
        {"type": "Finding", "text": [t], "offsets": [[a, b]], "normalized": [{"db_id": c}]}
        for t, a, b, c in [("Ataxia", 0, 6, "C1"), ("tremor", 11, 17, "C2")]
    ],
}


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("spacy_bel.PubTator.v1", "c.txt", PUBTATOR),
        ("spacy_bel.BigBio.v1", "c.json", json.dumps(PAGE)),
    ],
)
def test_readers_and_scorer_work_from_a_config(tmp_path, name, file, content):
    (tmp_path / file).write_text(content, encoding="utf-8")
    config = {
        "corpus": {"@readers": name, "path": str(tmp_path / file)},
        "scorer": {"@scorers": "spacy_bel.linking_scorer.v1", "ks": [1, 2]},
    }
    resolved = registry.resolve(config)
    (example,) = resolved["corpus"](spacy.blank("en"))
    assert [e.kb_id_ for e in example.reference.ents] == ["C1", "C2"]
    for mention, codes in zip(example.predicted.ents, [["C1"], ["C1", "C2"]], strict=True):
        set_candidates(mention, [Candidate(c, c, -float(i)) for i, c in enumerate(codes)])
    scores = resolved["scorer"]([example])
    assert (scores["bel_recall_at_1"], scores["bel_recall_at_2"]) == (0.5, 1.0)
