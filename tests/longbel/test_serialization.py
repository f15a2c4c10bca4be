"""`longbel_linker` on disk, in bytes, and in other processes."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_bel.errors import FingerprintMismatchError

from .conftest import make_kb
from .helpers import links, marked


def test_processes(make_nlp):
    nlp = make_nlp()
    docs = [marked(nlp) for _ in range(4)]
    expected = links(nlp(marked(nlp)))
    for doc in nlp.pipe(docs, n_process=2, batch_size=2):
        got = links(doc)
        assert [row[:3] for row in got] == [row[:3] for row in expected]
        assert [[c[:2] for c in row[3]] for row in got] == [[c[:2] for c in r[3]] for r in expected]


def test_spawned_processes(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "pipeline")
    code = f"""
        import multiprocessing, spacy
        if __name__ == "__main__":
            multiprocessing.set_start_method("spawn")
            nlp = spacy.load({str(tmp_path / "pipeline")!r})
            docs = []
            for _ in range(4):
                doc = nlp.make_doc("A cold.")
                doc.ents = [doc.char_span(2, 6, label="Disorders")]
                docs.append(doc)
            for doc in nlp.pipe(docs, n_process=2, batch_size=2):
                assert doc.ents[0].kb_id_ == doc.ents[0]._.kb_candidates[0].code
            print("done")
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "done", done.stderr


def test_docs_keep_their_links(make_nlp):
    nlp = make_nlp()
    doc = nlp(marked(nlp))
    expected = links(doc)
    assert links(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == expected
    stored = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (read,) = DocBin().from_bytes(stored).get_docs(nlp.vocab)
    assert links(read) == expected
    sentence = doc[0 : len(doc)].as_doc(copy_user_data=True)
    assert links(sentence) == expected


def test_disk(make_nlp, tmp_path):
    nlp = make_nlp(store_kb=True)
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    assert (tmp_path / "pipeline" / "longbel_linker" / "token_trie").is_dir()
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    read.to_disk(tmp_path / "pipeline")  # over itself
    again = spacy.load(tmp_path / "pipeline")
    assert links(again(marked(again))) == expected


def test_a_saved_pipeline_needs_none_of_its_sources(tmp_path, kb, model_dir, make_nlp):
    kb.to_disk(tmp_path / "kb")
    nlp = make_nlp(kb=str(tmp_path / "kb"))
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "kb").rename(tmp_path / "gone")
    (tmp_path / "pipeline").rename(tmp_path / "elsewhere")
    read = spacy.load(tmp_path / "elsewhere")
    assert links(read(marked(read))) == expected


def test_without_stored_kb_the_config_is_read(make_nlp, tmp_path):
    nlp = make_nlp(store_kb=False)
    nlp.to_disk(tmp_path / "pipeline")
    assert not (tmp_path / "pipeline" / "longbel_linker" / "kb").exists()
    assert not (tmp_path / "pipeline" / "longbel_linker" / "token_trie").exists()
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == links(nlp(marked(nlp)))


def test_bytes(make_nlp):
    nlp = make_nlp()
    expected = links(nlp(marked(nlp)))
    other = make_nlp(kb="nowhere", model="./nowhere")
    other.from_bytes(nlp.to_bytes())
    assert links(other(marked(other))) == expected


def test_a_trie_of_another_knowledge_base_is_refused(make_nlp, tmp_path):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "pipeline")
    other = make_kb([("X", "Disorders", ["x"]), ("Y", "Phenomena", ["y"])])
    other.to_disk(tmp_path / "pipeline" / "longbel_linker" / "kb", force=True)
    read = spacy.load(tmp_path / "pipeline")
    with pytest.raises(FingerprintMismatchError, match="knowledge base"):
        read(marked(read))


def test_nothing_pickled_is_opened_or_copied(make_nlp, model_dir, tmp_path):
    source = tmp_path / "model"
    source.mkdir()
    for file in model_dir.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "candidate_trie.pkl").write_bytes(b"not to be opened")
    nlp = make_nlp(model=str(source))
    nlp.to_disk(tmp_path / "pipeline")
    copied = {file.name for file in (tmp_path / "pipeline" / "longbel_linker" / "model").iterdir()}
    assert "model.safetensors" in copied and "candidate_trie.pkl" not in copied


def test_a_damaged_cached_trie_is_built_again(make_nlp, tmp_path, caplog):
    nlp = make_nlp()
    expected = links(nlp(marked(nlp)))
    (cached,) = (tmp_path / "cache" / "token_tries").iterdir()
    (cached / "edge_tokens.npy").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING, logger="spacy_bel"):
        again = make_nlp()
        assert links(again(marked(again))) == expected
    assert "built again" in caplog.text
