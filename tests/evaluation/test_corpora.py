"""Real corpora: what is special about them is counted, and their own codes are right."""

import re

import pytest

from spacy_bel.corpora.reading import read_documents
from spacy_bel.evaluation import Policies, evaluate

pytestmark = pytest.mark.data


@pytest.mark.parametrize(
    "path",
    [
        "corpora/ncbi-disease/NCBItestset_corpus.txt",
        "corpora/bc5cdr/dev_corpus.txt",
        "corpora/quaero/dev/EMEA",
        "corpora/craft/CL",
    ],
)
def test_gold_beside_itself_is_right(data, path):
    documents = list(read_documents(data / path))
    result = evaluate(documents, documents)
    assert result.counts()["missed"] == 0
    assert result.mentions == sum(bool(a.codes) for d in documents for a in d.annotations)
    assert result.estimates((1,))["recall@1"] == (1.0, 1.0, 1.0)


def test_composites_of_ncbi_disease_are_all_counted(data):
    path = data / "corpora" / "ncbi-disease" / "NCBItestset_corpus.txt"
    codes = re.findall(r"^\d+\t\d+\t\d+\t[^\t]+\t[^\t]+\t(.+?)\s*$", path.read_text(), re.M)
    assert len(codes) == 960
    # "D1|D2" names two concepts, "D1|OMIM:2" one twice, and "+" always joins.
    two = re.compile(r"\+|\bD\d+\b.*\|\s*D\d+|OMIM:\d+.*\|\s*OMIM:\d+")
    composite = sum(bool(two.search(code)) for code in codes)
    documents = list(read_documents(path))
    strict = evaluate(documents, documents).counts()["policies"]["composite"]
    assert strict == {"choice": "strict", "mentions": composite}
    # With the first concept as the only answer, strictness costs just those.
    for document in documents:
        document.annotations = [a for a in document.annotations if a.codes]
    firsts = list(read_documents(path))
    for document in firsts:
        for annotation in document.annotations:
            annotation.codes = annotation.codes[:1]
    right = {
        choice: evaluate(firsts, documents, policies=Policies(composite=choice))
        .estimates((1,))["recall@1"]
        .value
        for choice in ("strict", "any", "drop")
    }
    assert right["any"] == right["drop"] == 1.0
    assert right["strict"] == pytest.approx(1 - composite / 960)
