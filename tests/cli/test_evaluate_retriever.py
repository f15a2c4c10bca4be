"""`bel evaluate-retriever` and `bel kb add-mentions`."""

import json

import pytest

from spacy_bel.kb import KnowledgeBase

DEV = (
    "a|t|A seizure in atrial septal defect (ASD). No ASD, no spell, no turn.\na|a|\n"
    "a\t2\t9\tseizure\tFindings\tHP:1\n"
    "a\t44\t47\tASD\tDefects\tHP:3\n"
    "a\t52\t57\tspell\tFindings\tHP:2\n"
    "a\t62\t66\tturn\tFindings\tHP:9\n"
)
TRAIN = "t|t|A spell.\nt|a|\nt\t2\t7\tspell\tFindings\tHP:2\nt\t0\t1\tA\tFindings\t-1\n"
EXACT = '[retriever]\n@misc = "spacy_bel.ExactRetriever.v1"\n'
PIPELINE = """
[nlp]
lang = "en"
pipeline = ["linker"]
[components]
[components.linker]
factory = "bel_retriever"
[components.linker.retriever]
@misc = "spacy_bel.NgramRetriever.v1"
ngram_range = [3,3]
"""


@pytest.fixture
def files(tmp_path):
    contents = {
        "dev.pubtator": DEV, "train.pubtator": TRAIN, "exact.cfg": EXACT, "pipeline.cfg": PIPELINE
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return lambda name: tmp_path / name


@pytest.fixture
def report(bel, files, kb_path):
    """JSON of a run on the development document, without costs."""

    def run(*options):
        arguments = ("--kb", kb_path, "--no-costs", "--k", "1,2", "--json", *options)
        result = bel("evaluate-retriever", files("dev.pubtator"), *arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


def recall(row, k=1):
    return row[f"recall@{k}"]["value"]


def test_exact_match_by_hand(report, files):
    """Of four mentions the seizure and, by its long form, ASD are names of the knowledge base."""
    result = report("--retriever", "exact")
    system = result["systems"]["exact"]
    assert recall(system["scores"]) == 0.5
    assert system["scores"]["ceiling"]["value"] == 0.75
    assert recall(system["per_label"]["Defects"]) == 1.0
    assert system["per_subset"] == {} and system["footprint"] is None
    assert system["kb"]["name"] == "test HP"


def test_options_reach_the_search(report, files):
    def defects(*options):
        (system,) = report("--retriever", "exact", *options)["systems"].values()
        return recall(system["per_label"]["Defects"])

    # Without its long form, ASD is a name of two concepts.
    options = ("--label-groups", "Defects=Findings", "--no-abbreviations")
    assert (defects(), defects(*options)) == (1.0, 0.0)
    (system,) = report("--label", "Defects")["systems"].values()
    assert system["scores"]["mentions"] == 1


def test_training_mentions_are_named_and_found(report, files):
    train = files("train.pubtator")
    result = report("--retriever", "exact", "--training-mentions", train)
    system = result["systems"]["exact"]
    assert system["kb"]["name"] == "test HP + training mentions (1 documents)"
    assert recall(system["scores"]) == 0.75
    assert result["train"] == [str(train)]
    assert system["per_subset"]["unseen mentions"]["mentions"] == 1


def test_unseen_rows_need_training_documents(report, files):
    result = report("--retriever", "exact", "--train", files("train.pubtator"))
    rows = result["systems"]["exact"]["per_subset"]
    # "turn" is new; HP:2 is the only code of training.
    assert rows["unseen mentions"]["mentions"] == 1
    assert rows["unseen codes"]["mentions"] == 3
    assert recall(rows["unseen codes"]) == pytest.approx(2 / 3)
    assert result["systems"]["exact"]["kb"]["name"] == "test HP"


def test_several_configs_are_compared_with_the_first(report, files):
    options = ("--config", files("exact.cfg"), "--config", files("pipeline.cfg"))
    systems = report(*options, "--retriever", "ngrams")["systems"]
    assert list(systems) == ["exact", "pipeline", "n-grams"]
    assert "difference" not in systems["exact"]
    gained = recall(systems["pipeline"]["scores"]) - recall(systems["exact"]["scores"])
    assert recall(systems["pipeline"]["difference"]) == pytest.approx(gained)


def test_tables_say_what_was_searched_and_what_it_costs(bel, files, kb_path, tmp_path):
    train = files("train.pubtator")
    options = ("--kb", kb_path, "--retriever", "exact", "--training-mentions", train)
    output = tmp_path / "figures.json"
    result = bel("evaluate-retriever", files("dev.pubtator"), *options, "-o", output)
    assert result.exit_code == 0, result.stderr
    words = " ".join(result.stdout.split())
    for part in (
        "dev.pubtator, searched in test HP + training mentions (1 documents)",
        "@200", "ceiling", "unseen mentions", "1 unseen mentions, beside train.pubtator",
        "mentions/s", "composite=any (0)", "4 of 4 gold mentions in 1 documents count",
    ):  # fmt: skip
        assert part in words, part
    costs = json.loads(output.read_text())["systems"]["exact"]["footprint"]
    assert costs["mentions"] == 4 and costs["k"] == 25
    result = bel("evaluate-retriever", files("dev.pubtator"), *options, "-o", output)
    assert result.exit_code == 1 and "--force" in result.stderr


def test_tables_of_several_systems(bel, files, kb_path):
    options = ("--kb", kb_path, "--no-costs", "--retriever", "exact", "--retriever", "ngrams")
    result = bel("evaluate-retriever", files("dev.pubtator"), *options)
    assert result.exit_code == 0, result.stderr
    assert "n-grams - exact" in result.stdout and "Difference in points" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nowhere.cfg"], "nowhere.cfg"),
        (["--config", "dev.pubtator"], "dev.pubtator"),
        (["--config", "empty.cfg"], "[retriever]"),
        (["--config", "wrong.cfg"], "ngrams"),
        (["--label-groups", "Findings"], "Label=Group"),
        (["--label-groups", "Defects=Nothing"], "'Nothing'"),
        (["--kb", "nowhere"], "nowhere"),
        (["--training-mentions", "foreign.pubtator"], "bel corpus check"),
        (["--policy", "strict"], "'strict' is no policy"),
        (["--k", "some"], "1,5,25"),
        (["--label", "Star"], "No gold mention counts"),
    ],
)
def test_mistakes_are_told(bel, files, kb_path, monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.cfg").write_text("[nlp]\nlang = null\n")
    (tmp_path / "wrong.cfg").write_text(
        '[retriever]\n@misc = "spacy_bel.NgramRetriever.v1"\nngrams = 3\n'
    )
    (tmp_path / "foreign.pubtator").write_text(TRAIN.replace("HP:2", "X:2"))
    arguments = ("--kb", kb_path, "--no-costs", *options)
    result = bel("evaluate-retriever", "dev.pubtator", *arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())


def test_help_teaches(bel):
    words = bel("evaluate-retriever", "--help").stdout
    for part in ("@misc", "--training-mentions", "--train", "ceiling", "Examples:"):
        assert part in words


def test_add_mentions(bel, files, kb_path, tmp_path):
    arguments = ("kb", "add-mentions", kb_path, files("train.pubtator"), "-o", tmp_path / "kb")
    result = bel(*arguments)
    assert result.exit_code == 0, result.stderr
    kb = KnowledgeBase.from_disk(tmp_path / "kb")
    assert kb.find("spell") == ["HP:2"]
    assert kb.meta.name == "test HP + training mentions (1 documents)"
    assert "1 names added to 1 concepts from 2 mentions in 1 documents" in result.stderr
    assert "1 mentions without code" in result.stderr
    assert bel(*arguments).exit_code == 1
    assert bel(*arguments, "--force").exit_code == 0
    labelled = bel(*arguments, "--force", "--label", "Defects")
    assert labelled.exit_code == 1 and "bel corpus check" in labelled.stderr
