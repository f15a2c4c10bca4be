"""BigBio-KB pages as documents, and what was generated as records."""

from __future__ import annotations

import copy

import pytest

from spacy_bel.errors import ReadError, SettingsError, UnknownGroupError
from spacy_bel.longbel.bigbio import sample
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.pages import read_page
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.released_kb import read_released_table
from spacy_bel.longbel.search import Hypothesis
from spacy_bel.longbel.tokenization import PromptTokenizer

from .conftest import character_tokenizer
from .pages import PAGE, make_page, starts_after_full_stops

KB_TABLE = '{"G": {"one": "1", "uno": "1", "two": "2"}, "H": {"one": "3"}}'


class ScriptedEngine:
    """Generates what it is told to, for every mention the same."""

    def __init__(self, kb, hypotheses):
        self.tokenizer = PromptTokenizer(character_tokenizer(), get_prompt("hybrid_long"))
        self.trie = NameTrie.build(kb, self.tokenizer)
        self.group_mask = kb.group_mask
        self.hypotheses = hypotheses

    def generate(self, documents):
        for document in documents:
            yield [[make(self) for make in self.hypotheses] for _ in document.mentions]

    def node_of(self, name):
        wanted = self.trie.kb.name_id(name)
        ends = self.trie.trie.end_nodes
        return next(int(n) for n in ends if wanted in self.trie.trie.sequences_at(n))

    def written(self, text):
        ids = self.tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, self.trie.end_token)


def constrained(*names):
    return lambda e: Hypothesis(tuple(map(e.node_of, names)), (0,), -0.5, -0.5)


def free(text):
    return lambda e: Hypothesis((), e.written(text), -0.5, -0.5)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "table.json").write_text(KB_TABLE)
    kb = read_released_table(tmp_path / "table.json")

    def run(*hypotheses, group="G", **settings):
        page = make_page("7", ["One fit."], [(["One"], group, "1+2", "one<+>two")])
        return sample(ScriptedEngine(kb, hypotheses), [page], **settings)

    return run


def answers(records):
    return [(r["pred_concept_name"], r["pred_concept_code"]) for r in records]


def test_a_record(run):
    assert run(constrained("uno")) == [
        {
            "mention": "One",
            "doc_id": "7",
            "mention_id": "7.1",
            "start_span": 0,
            "end_span": 3,
            "semantic_group": "G",
            "gold_concept_code": "1+2",
            "gold_concept_name": "one<+>two",
            "pred_concept_name": "uno",
            "pred_concept_code": "1",
            "score": pytest.approx(0.6065306597),
            "beam_score": pytest.approx(0.6065306597),
            "rank": 1,
        }
    ]


def test_names_of_one_code_are_not_merged(run):
    records = run(constrained("uno"), constrained("one"), constrained("two"))
    assert answers(records) == [("uno", "1"), ("one", "1"), ("two", "2")]
    assert [r["rank"] for r in records] == [1, 2, 3]


def test_a_name_has_the_code_of_its_group(run):
    assert answers(run(constrained("one"))) == [("one", "1")]
    assert answers(run(constrained("one"), group="H")) == [("one", "3")]
    # The type of a composite mention names the groups of its parts.
    assert answers(run(constrained("two"), group="H<+>G")) == [("two", "2")]


def test_composites(run):
    records = run(constrained("two", "one"), constrained("one", "uno"))
    assert answers(records) == [("two<+>one", "2+1"), ("one<+>uno", "1")]


def test_free_generation(run):
    texts = ["two", "none such", "one<+>none such", "one<+> two", "a<+>b", ""]
    assert answers(run(*map(free, texts))) == [
        ("two", "2"),
        ("none such", "NO_CODE"),
        ("one<+>none such", "1"),
        ("one<+>two", "1+2"),
        ("a<+>b", "NO_CODE"),
        ("NO_PREDICTION", "NO_CODE"),
    ]
    assert answers(run(free("two"), group="H")) == [("two", "NO_CODE")]


def test_no_hypothesis(run):
    (record,) = run()
    assert (record["pred_concept_name"], record["pred_concept_code"]) == (
        "NO_PREDICTION",
        "NO_CODE",
    )
    assert (record["score"], record["rank"]) == (0.0, 1)


def test_mentions_of_a_page():
    page = read_page(PAGE)
    assert [(m.start, m.end, m.text, m.group) for m in page.document.mentions] == [
        (2, 6, "cold", "Disorders"),
        (12, 32, "Pain in the left arm", "Disorders"),
        (12, 40, "Pain in the leg", "Disorders"),
        (53, 63, "cold\u00a0fever", "Disorders"),
        (65, 69, "Cold", "Phenomena"),
    ]
    assert page.gold == (
        ("D1", "Cold"),
        ("D3", "Arm pain"),
        ("D2", "Leg pain"),
        ("D4", "Fever"),
        (None, None),
    )
    everything = read_page(PAGE, compat=None).document.mentions
    assert [m.group for m in everything if m.text == "cold\u00a0fever"] == [
        "Phenomena",
        "Disorders",
    ]


def test_sentences():
    page = make_page(
        "1",
        ["A. B c. D. ", "One. Two"],
        [(["B c. D"], "G", None, None), (["Two"], "G", None, None)],
    )
    assert read_page(page).document.sentences == ((0, 10), (12, 20))
    split = read_page(page, sentence_starts=starts_after_full_stops).document.sentences
    assert split == ((0, 2), (3, 10), (12, 16), (17, 20))


def changed(**fields):
    page = copy.deepcopy(PAGE)
    return {key: value for key, value in {**page, **fields}.items() if value is not ...}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (changed(id=...), "KeyError: 'id'"),
        (changed(passages=...), "KeyError: 'passages'"),
        (changed(passages=[{"text": [], "offsets": []}]), "IndexError"),
        (changed(entities=[{"text": ["x"], "offsets": [], "type": "G"}]), "ValueError"),
        (changed(entities=[{"text": ["x"], "offsets": [[0, 1]]}]), "KeyError: 'type'"),
        (changed(entities=[{"text": ["x"], "offsets": [[11, 12]], "type": "G"}]), "no passage"),
        (changed(entities=[{"text": ["x"], "offsets": [[900, 901]], "type": "G"}]), "no passage"),
    ],
)
def test_bad_pages(page, message):
    with pytest.raises(ReadError, match="Page '(p1)?'") as raised:
        read_page(page)
    assert message in str(raised.value)


def test_pages_of_one_id(run, tmp_path):
    kb = read_released_table(tmp_path / "table.json")
    page = make_page("7", ["One"], [(["One"], "G", None, None)])
    with pytest.raises(ReadError, match="Two pages have the id '7'"):
        sample(ScriptedEngine(kb, []), [page, page])


def test_unknown_group(run):
    with pytest.raises(UnknownGroupError, match="Page '7', entity 'One': .* use one of: G, H"):
        run(constrained("one"), group="I")


def test_unknown_compat():
    with pytest.raises(SettingsError, match="set it to 'longbel'"):
        read_page(PAGE, compat="genre")
