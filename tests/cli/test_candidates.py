"""`bel candidates`."""

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_bel.candidates import get_candidates
from spacy_bel.corpora import read_documents
from spacy_bel.corpora.docs import examples

TRAIN = (
    "a|t|A spell. It was a seizure.\na|a|\n"
    "a\t2\t7\tspell\tFindings\tHP:2\na\t18\t25\tseizure\tFindings\tHP:1\n\n"
    "b|t|Another spell, and a turn.\nb|a|\n"
    "b\t8\t13\tspell\tFindings\tHP:2\nb\t21\t25\tturn\tFindings\tHP:1\n\n"
    "c|t|An ASD.\nc|a|\nc\t3\t6\tASD\tDefects\tHP:3\n"
)
TEST = (
    "t|t|A turn, then a fit.\nt|a|\nt\t2\t6\tturn\tFindings\tHP:1\nt\t15\t18\tfit\tFindings\tHP:1\n"
)
EXACT = '[retriever]\n@misc = "spacy_bel.ExactRetriever.v1"\n'


@pytest.fixture
def files(tmp_path):
    for name, content in {"train.txt": TRAIN, "test.txt": TEST, "exact.cfg": EXACT}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return lambda name: tmp_path / name


@pytest.fixture
def found(bel, files, kb_path):
    """Codes of candidates by mention of what a run has written, and what it printed."""

    def run(corpus, *options):
        arguments = ("--kb", kb_path, "--retriever", "exact", *options, "--force")
        result = bel("candidates", files(corpus), files("out.spacy"), *arguments)
        assert result.exit_code == 0, result.stderr
        codes = [
            [[link.code for link in a.links] for a in d.annotations]
            for d in read_documents(files("out.spacy"))
        ]
        return codes, result

    return run


def test_mentions_carry_candidates_and_sentences(found, files, kb_path):
    codes, _ = found("train.txt", "--unmapped-labels", "all")
    assert codes == [[[], ["HP:1"]], [[], []], [["HP:3"]]]
    first, _, third = DocBin().from_disk(files("out.spacy")).get_docs(spacy.blank("en").vocab)
    assert [s.text.strip() for s in first.sents] == ["A spell.", "It was a seizure."]
    assert [(ent.text, ent.kb_id_) for ent in first.ents] == [
        ("spell", "HP:2"),
        ("seizure", "HP:1"),
    ]
    assert [c.name for c in get_candidates(third.ents[0])] == ["ASD"]
    # An ambiguous name: groups and k reach the search.
    mapped, _ = found("train.txt", "--label-groups", "Defects=Findings")
    assert mapped[2] == [["HP:1", "HP:3"]]
    fewer, _ = found("train.txt", "--label-groups", "Defects=Findings", "-k", "1")
    assert fewer[2] == [["HP:1"]]


def test_folds_add_the_mentions_of_other_documents_only(found, files):
    codes, result = found("train.txt", "--folds", "3")
    # "spell" is known from the other document, "turn" from none.
    assert codes == [[["HP:2"], ["HP:1"]], [["HP:2"], []], [["HP:3"]]]
    (about, *_) = [d.meta["candidates"] for d in read_documents(files("out.spacy"))]
    assert about["folds"] == 3 and about["k"] == 10
    assert about["kb"] == "test HP + training mentions (2 documents)"
    assert "Fold 3 of 3" in result.stderr
    words = result.stdout.split()
    assert "recall@1" in words and "mrr" in words and "80.0" in words  # 4 of 5 mentions


def test_training_mentions_help_other_documents(found, files):
    assert found("test.txt")[0] == [[[], ["HP:1"]]]
    codes, _ = found("test.txt", "--training-mentions", files("train.txt"))
    assert codes == [[["HP:1"], ["HP:1"]]]


def test_a_corpus_never_finds_its_own_mentions(found, bel, files, kb_path):
    same = ("--training-mentions", files("train.txt"))
    result = bel("candidates", files("train.txt"), files("o.spacy"), "--kb", kb_path, *same)
    assert result.exit_code == 1
    assert "use --folds 5 instead" in " ".join(result.stderr.split())
    assert not files("o.spacy").exists()
    # Copies among other documents are left out, and said to be.
    files("both.txt").write_text(TRAIN + "\n" + TEST, encoding="utf-8")
    codes, result = found("test.txt", "--training-mentions", files("both.txt"))
    assert codes == [[["HP:1"], ["HP:1"]]]
    assert "1 documents of --training-mentions are documents of the corpus" in result.stderr


def test_a_knowledge_base_with_training_mentions_is_remarked_upon(found, bel, files, kb_path):
    bel("kb", "add-mentions", kb_path, files("train.txt"), "-o", files("kb"))
    assert "has training mentions already" in found("test.txt", "--kb", files("kb"))[1].stderr


def test_nothing_is_replaced_or_half_written(bel, files, kb_path):
    arguments = ("candidates", files("test.txt"), files("out.spacy"), "--kb", kb_path)
    files("out.spacy").write_text("mine")
    result = bel(*arguments)
    assert result.exit_code == 1 and "exists already" in result.stderr
    assert files("out.spacy").read_text() == "mine"
    assert bel(*arguments, "--force", "--config", files("exact.cfg")).exit_code == 0
    assert not files("out.spacy.part").exists()
    (record,) = read_documents(files("out.spacy"))
    assert record.meta["candidates"]["retriever"] == "ExactRetriever()"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "4"), "3 different documents cannot be drawn into 4 folds"),
        (("--folds", "1"), "cannot be drawn into 1 folds"),
        (("--config", "c.cfg", "--retriever", "exact"), "either --config or --retriever"),
        (("--label-groups", "Defects=Nothing"), "Nothing"),
        (("--lang", "xq"), "no language"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(bel, files, kb_path, options, message):
    result = bel(
        "candidates", files("train.txt"), files("out.spacy"), "--kb", kb_path, *options
    )  # fmt: skip
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not files("out.spacy").exists() and not files("out.spacy.part").exists()


def test_both_sides_of_an_example_carry_what_was_written(found, files):
    found("train.txt", "--folds", "3")
    for example in examples(read_documents(files("out.spacy")), spacy.blank("en")):
        links = [get_candidates(ent) for ent in example.predicted.ents]
        assert links == [get_candidates(ent) for ent in example.reference.ents]
        assert any(links)
