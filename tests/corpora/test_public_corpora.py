"""Corpora as they are published: all of each is read, and every offset is right."""

import pytest

from spacy_bel.corpora import gold_flags, read_documents
from spacy_bel.corpora.report import CorpusCheck
from spacy_bel.kb.readers import FORMATS, read

CORPORA = {
    "quaero/train/EMEA": (11, 2695, 27),
    "quaero/dev/EMEA": (12, 2260, 15),
    "quaero/train/MEDLINE": (833, 2994, 13),
    "quaero/dev/MEDLINE": (832, 2977, 21),
    "craft/UBERON": (67, 12269, 235),
    "craft/CL": (67, 4043, 244),
    "craft": (67, 16312, 479),
    "distemist-hpo": (583, 5136, 0),
    "ncbi-disease/NCBItrainset_corpus.txt": (593, 5145, 0),
    "bc5cdr/test_corpus.txt": (500, 9809, 0),
    "medmentions": (2635, 122001, 0),
}


@pytest.mark.data
@pytest.mark.parametrize("corpus", CORPORA)
def test_everything_is_read_with_right_offsets(data, corpus):
    documents = list(read_documents(data / "corpora" / corpus))
    flags = [found for document in documents for found in gold_flags(document)]
    discontinuous = sum("discontinuous" in found for found in flags)
    assert (len(documents), len(flags), discontinuous) == CORPORA[corpus]
    # White space aside; two mentions of DisTEMIST are quoted as a spreadsheet does.
    assert not any("misplaced" in found for found in flags)


@pytest.mark.data
def test_codes_of_quaero(data):
    for corpus, without in {"quaero/dev/EMEA": 0, "quaero/dev/MEDLINE": 2}.items():
        documents = read_documents(data / "corpora" / corpus)
        codes = [a.codes for document in documents for a in document.annotations]
        assert sum(not parts for parts in codes) == without
        assert max(len(part) for parts in codes for part in parts) > 1


@pytest.mark.data
def test_a_pmid_that_occurs_twice_is_kept_and_flagged(data):
    path = data / "corpora" / "ncbi-disease" / "NCBItrainset_corpus.txt"
    documents = list(read_documents(path))
    assert [d.id for d in documents if "duplicate_id" in d.meta] == ["8528200"]
    assert len(list(read_documents(path, ids=["8528200"]))) == 2


@pytest.mark.data
def test_splits_of_craft(data):
    craft = data / "corpora" / "craft"
    for split, count in (("train", 60), ("dev", 7)):
        ids = craft / "ids" / f"craft-ids-{split}.txt"
        assert len(list(read_documents(craft / "UBERON", ids=ids))) == count


@pytest.mark.data
def test_coverage_of_ncbi_disease_by_medic(data):
    medic = read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    for split in ("train", "develop", "test"):
        check = CorpusCheck([medic])
        for document in read_documents(data / f"corpora/ncbi-disease/NCBI{split}set_corpus.txt"):
            check.add(document)
        assert check.as_dict()["coverage"] == 1


@pytest.mark.data
@pytest.mark.skipif("mesh-table" not in FORMATS, reason="needs the reader of MeSH tables")
def test_coverage_of_bc5cdr_diseases_by_mesh_and_medic(data):
    kbs = [
        read(data / "kb" / "mesh" / "mesh2022_terms.tsv.gz", "mesh-table").build(),
        read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build(),
    ]
    for split in ("train", "dev", "test"):
        check = CorpusCheck(kbs)
        for document in read_documents(data / "corpora" / "bc5cdr" / f"{split}_corpus.txt"):
            document.annotations = [a for a in document.annotations if a.type == "Disease"]
            check.add(document)
        assert check.as_dict()["coverage"] >= 0.999
