"""`bel examples`."""

import json

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from tests.longbel.conftest import tiny_llama

pytest.importorskip("pyarrow")

CORPUS = (
    "a|t|A spell. It was a seizure, then an ASD.\na|a|\n"
    "a\t2\t7\tspell\tFindings\tHP:1\n"
    "a\t18\t25\tseizure\tFindings\tHP:1\n"
    "a\t35\t38\tASD\tDefects\tHP:3\n\n"
    "b|t|A turn and a spell.\nb|a|\n"
    "b\t2\t6\tturn\tFindings\tHP:9\nb\t13\t18\tspell\tFindings\tHP:2\n"
)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(CORPUS, encoding="utf-8")
    return path


@pytest.fixture
def made(bel, corpus, tmp_path, kb_path):
    """Prompts and names of what a run has written, and what it printed."""

    def run(*options, source=corpus, output="out"):
        result = bel("examples", source, tmp_path / output, "--kb", kb_path, *options)
        assert result.exit_code == 0, result.stderr
        from spacy_bel.longbel.training.dataset import ExampleDataset

        turns = [turn for each in ExampleDataset(tmp_path / output) for turn in each.turns]
        return [(turn.prompt, turn.names) for turn in turns], result

    return run


def test_examples_are_written_with_what_was_left_out(made, tmp_path):
    found, result = made("--prompt", "hybrid_short")
    assert [names for _, names in found] == [
        ("Seizure",),
        ("Seizure",),
        ("ASD",),
        ("Febrile seizure",),
    ]
    assert found[1][0] == (
        "### Context\nIt was a [seizure], then an ASD.\n\n### Previous Normalizations\n"
        "[spell]{Findings} Seizure\n\n### Prediction\n[seizure]{Findings}"
    )
    assert "2 documents with 5 mentions gave 4 examples" in result.stderr
    assert "'turn' (b, Findings, HP:9)" in result.stderr
    stored = json.loads((tmp_path / "out" / "meta.json").read_text("utf-8"))
    assert stored["report"]["skipped"] == {"unknown_code": 1}


def test_settings_reach_the_examples(made):
    assert [names for _, names in made("--target", "title")[0]][2] == ("Atrial septal defect",)
    streamed, _ = made("--prompt", "long", output="long")
    assert [prompt for prompt, _ in streamed][1:3] == ["[seizure]{Findings}", "[ASD]{Defects}"]
    alone, _ = made("--prompt", "hybrid_long", "--memory", "none", output="none")
    assert all("### Previous Normalizations\nNone\n" in prompt for prompt, _ in alone)
    recent = made("--shown", "recent", "--memory-size", "1", "--groups", "reference", output="r")
    assert "[seizure]{Findings} Seizure\n\n" in recent[0][2][0]
    assert "[spell]" not in recent[0][2][0]
    fewer, _ = made("--label", "Defects", output="label")
    assert [names for _, names in fewer] == [("ASD",)]


def test_predicted_memory_is_that_of_the_candidates_in_the_corpus(bel, made, corpus, kb_path):
    linked = corpus.with_name("linked.spacy")
    result = bel("candidates", corpus, linked, "--kb", kb_path, "--retriever", "exact")
    assert result.exit_code == 0
    assert next(iter(read_documents(linked))).annotations[1].links
    found, _ = made("--memory", "predicted", source=linked)
    # "spell" has no candidate, "seizure" has one.
    assert "### Previous Normalizations\n[seizure]{Findings} Seizure\n\n" in found[2][0]
    result = bel("examples", corpus, corpus.with_name("o"), "--kb", kb_path, "--memory=predicted")
    assert result.exit_code == 1 and "no mention carries a candidate" in result.stderr


def test_examples_that_are_there_are_not_made_again(made, bel, corpus, tmp_path, kb_path):
    made()
    written = (tmp_path / "out" / "examples.parquet").stat().st_mtime_ns
    _, again = made()
    assert "up to date" in again.stderr and "gave 4 examples" in again.stderr
    assert (tmp_path / "out" / "examples.parquet").stat().st_mtime_ns == written
    other = ("examples", corpus, tmp_path / "out", "--kb", kb_path, "--target", "title")
    result = bel(*other)
    assert result.exit_code == 1 and "made from another targets" in result.stderr
    assert bel(*other, "--force").exit_code == 0
    corpus.write_text(CORPUS.replace("spell", "spasm"), encoding="utf-8")
    result = bel(*other)
    assert result.exit_code == 1 and "made from another corpus" in result.stderr


def test_prompts_fit_the_model_that_is_to_be_trained(made, tmp_path):
    tiny_llama(window=128).save(tmp_path / "model")
    model = CausalLanguageModel.from_pretrained(tmp_path / "model")
    found, result = made("--model", tmp_path / "model", "--no-composites")
    longest = len("Atrial septal defect") + 1 + 1  # a space before it, and the end
    lengths = [len(model.tokenizer(prompt)["input_ids"]) for prompt, _ in found]
    assert max(lengths) <= 128 - longest and len(found) == 4
    assert "context cut to sentences around the mention in" in result.stderr
    short, _ = made("--model", tmp_path / "model", "--no-composites", "--max-length", "100",
                    output="short")  # fmt: skip
    assert max(len(model.tokenizer(p)["input_ids"]) for p, _ in short) <= 100 - longest


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--prompt", "prose"), 2, "Choose one of"),
        (("--target", "embedding"), 2, "--encoder"),
        (("--max-length", "100"), 2, "--max-length"),
        (("--shown", "recent"), 1, "needs memory_size"),
        (("--label-groups", "Findings=Nothing"), 1, "Nothing"),
        (("--label-groups", "Findings=Defects", "--label", "Findings"), 1, "nothing to learn"),
        (("--lang", "xq"), 2, "no language"),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(
    bel, corpus, tmp_path, kb_path, options, code, message
):
    result = bel("examples", corpus, tmp_path / "out", "--kb", kb_path, *options)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
