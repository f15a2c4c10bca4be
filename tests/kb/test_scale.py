"""What keeps large terminologies small; `benchmarks/kb_scale.py` measures the real size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from benchmarks.rrf_fixture import write_rrf
from spacy_bel.kb.packed import PackedStrings
from spacy_bel.kb.readers import read
from spacy_bel.kb.token_trie import TokenTrie


@pytest.fixture(scope="module")
def metathesaurus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scale") / "META"
    size = write_rrf(directory, concepts=2_000, names=5_000)
    return directory, size


def rows(path):
    return [line.split("|") for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_fixture_is_what_it_says(metathesaurus, tmp_path):
    directory, size = metathesaurus
    atoms = rows(directory / "MRCONSO.RRF")
    assert len(atoms) == size.rows
    assert all(len(atom) == 19 for atom in atoms)
    assert len({atom[0] for atom in atoms}) == size.concepts == 2_000
    write_rrf(tmp_path / "again", concepts=2_000, names=5_000)
    for file in directory.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_every_concept_and_name_of_the_fixture_is_read(metathesaurus):
    directory, size = metathesaurus
    kb = read(directory, "umls", name="scale").build()
    wanted = {
        atom[14].strip()
        for atom in rows(directory / "MRCONSO.RRF")
        if atom[1] == "ENG" and atom[16] == "N"
    }
    assert len(kb) == size.concepts
    assert set(kb.names()) == wanted


def test_a_token_trie_takes_few_bytes_an_edge():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 20_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(0, 50_000, offsets[-1]).astype(np.int32)
    masks = np.uint64(1) << rng.integers(0, 15, 20_000).astype(np.uint64).reshape(-1, 1)
    trie = TokenTrie.build(tokens, offsets, masks)
    arrays = [value for value in vars(trie).values() if isinstance(value, np.ndarray)]
    edges, sequences = len(trie.edge_tokens), len(lengths)
    # Where children begin, token, set of groups; three numbers a sequence.
    assert sum(a.nbytes for a in arrays) <= edges * (4 + 4 + 2) + sequences * 12 + 1_000_000


def test_packing_text_needs_no_index_of_its_bytes():
    strings = PackedStrings()
    for number in range(200_000):
        strings.append(f"{number} " + "definition " * 3)
    order = np.random.default_rng(0).permutation(len(strings))
    tracemalloc.start()
    text, ends = strings.packed(order)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bytes(text[ends[7] : ends[8]]).decode() == strings[int(order[7])]
    assert peak < 16 * len(text)
