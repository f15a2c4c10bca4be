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


BIOC = (
    "<collection><document><id>1</id><passage><offset>0</offset><text>Ataxia and tremor</text>"
    '<annotation id="1"><infon key="identifier">C1</infon><location offset="0" length="6"/>'
    "<text>Ataxia</text></annotation></passage></document></collection>"
)
KNOWTATOR = (
    '<annotations textSource="1.txt"><annotation><mention id="M"/><span start="0" end="6"/>'
    '<spannedText>Ataxia</spannedText></annotation><classMention id="M"><mentionClass id="C1"/>'
    "</classMention></annotations>"
)
FILES = {
    "spacy_bel.BioC.v1": {"1.xml": BIOC},
    "spacy_bel.Brat.v1": {"1.ann": "T1\tX 0 6\tAtaxia\n#1\tAnnotatorNotes T1\tC1\n"},
    "spacy_bel.Spaccc.v1": {
        "1.tsv": "filename\toff0\toff1\tspan\tcode\thpo\n1\t0\t6\tAtaxia\tC1\tC9\n"
    },
    "spacy_bel.Knowtator.v1": {"1.knowtator.xml": KNOWTATOR},
    "spacy_bel.PubTator.v1": {"1.pubtator": PUBTATOR},
    "spacy_bel.BigBio.v1": {"1.json": json.dumps(PAGE)},
    "spacy_bel.Corpus.v1": {"1.ann": "T1\tX 0 6\tAtaxia\nN1\tReference T1 U:C1\tAtaxia\n"},
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_has_a_reader_for_configs(tmp_path, name):
    if name not in ("spacy_bel.PubTator.v1", "spacy_bel.BioC.v1", "spacy_bel.BigBio.v1"):
        (tmp_path / "1.txt").write_text("Ataxia and tremor", encoding="utf-8")
    for file, content in FILES[name].items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    block = {"@readers": name, "path": str(tmp_path), "ids": ["1"]}
    (example,) = registry.resolve({"corpus": block})["corpus"](spacy.blank("en"))
    assert example.reference.ents[0].kb_id_ == "C1"
    assert [e.kb_id_ for e in example.predicted.ents[:1]] == [""]
    (bare,) = registry.resolve({"corpus": {**block, "gold_mentions": False}})["corpus"](
        spacy.blank("en")
    )
    assert not bare.predicted.ents


def test_another_column_of_codes(tmp_path):
    (tmp_path / "1.txt").write_text("Ataxia and tremor", encoding="utf-8")
    (tmp_path / "1.tsv").write_text(FILES["spacy_bel.Spaccc.v1"]["1.tsv"], encoding="utf-8")
    block = {"@readers": "spacy_bel.Spaccc.v1", "path": str(tmp_path), "code_column": "hpo"}
    (example,) = registry.resolve({"corpus": block})["corpus"](spacy.blank("en"))
    assert example.reference.ents[0].kb_id_ == "C9"


def test_spacy_trains_on_a_converted_corpus(tmp_path):
    """The DocBin of `bel corpus convert` is what spaCy's own reader takes."""
    from spacy.training.corpus import Corpus

    from spacy_bel.corpora import read_documents, write_documents

    (tmp_path / "1.json").write_text(json.dumps(PAGE), encoding="utf-8")
    with (tmp_path / "train.spacy").open("wb") as stream:
        write_documents(read_documents(tmp_path / "1.json"), stream, "docbin")
    (example,) = Corpus(tmp_path / "train.spacy")(spacy.blank("en"))
    assert [(e.text, e.kb_id_) for e in example.reference.ents] == [
        ("Ataxia", "C1"),
        ("tremor", "C2"),
    ]
