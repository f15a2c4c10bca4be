import json

import pytest

GOLD = [
    {
        "id": "a",
        "text": "A fit, an ASD and a cough.",
        "entities": [
            {"start": 2, "end": 5, "label": "Problem", "code": "HP:1"},
            {"start": 10, "end": 13, "label": "Problem", "code": "HP:3"},
            {"start": 20, "end": 25, "label": "Problem", "code": ""},
        ],
    },
    {
        "id": "b",
        "text": "A febrile seizure.",
        "entities": [
            {"start": 2, "end": 17, "label": "Problem", "code": "HP:2"},
            {"start": 10, "end": 17, "label": "Problem", "code": "HP:2"},
        ],
    },
]


@pytest.fixture
def write(tmp_path):
    def write(name, records):
        path = tmp_path / name
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(bel, write, pipeline, tmp_path):
    """Links of the pipeline of these tests, and the gold."""
    gold, links = write("gold.jsonl", GOLD), tmp_path / "links.jsonl"
    assert bel("link", gold, "-p", pipeline, "-o", links).exit_code == 0
    return links, gold


def test_links_of_a_pipeline_beside_gold(bel, run, kb_path):
    """The linker finds "fit" first, "ASD" second and "febrile seizure" first, not "seizure"."""
    result = bel("evaluate", *run, "--kb", kb_path, "--k", "1,2", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    scores = report["scores"]
    assert scores["mentions"] == 4
    assert scores["recall@1"]["value"] == pytest.approx(2 / 4)
    assert scores["recall@2"]["value"] == pytest.approx(3 / 4)
    assert scores["mrr"]["value"] == pytest.approx(2.5 / 4)
    # Both documents have one hit of two mentions, whichever are drawn.
    assert scores["recall@1"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert report["policies"]["nil"] == {"choice": "drop", "mentions": 1}
    assert report["policies"]["overlapping"] == {"choice": "keep", "mentions": 1}
    assert set(report["per_group"]) == {"Findings", "Defects"}
    assert report["per_label"]["Problem"] == scores


def test_policies_change_what_counts(bel, run):
    policies = ["--policy", "nil=count", "--policy", "overlapping=drop"]
    options = [*policies, "--k", 1, "--k", 3, "--json"]
    report = json.loads(bel("evaluate", *run, *options).stdout)
    assert set(report["scores"]) == {"mentions", "recall@1", "recall@3", "mrr"}
    # The linker gave the cough NIL; the nested "seizure" is out.
    assert report["mentions"] == 4
    assert report["scores"]["recall@1"]["value"] == pytest.approx(3 / 4)


def test_a_baseline_gives_paired_differences(bel, run, write):
    links, gold = run
    records = [json.loads(line) for line in links.read_text().splitlines()]
    records[0]["mentions"][0]["candidates"] = []
    result = bel("evaluate", links, gold, "--baseline", write("other.jsonl", records), "--json")
    report = json.loads(result.stdout)
    assert report["baseline"]["recall@1"]["value"] == pytest.approx(1 / 4)
    assert report["difference"]["recall@1"] == {"value": 0.25, "low": 0.0, "high": 0.5}


def test_the_table_says_what_was_counted(bel, run):
    result = bel("evaluate", *run, "--baseline", run[0])
    assert result.exit_code == 0
    for part in ("recall@25", "50.0", "50.0-50.0", "baseline", "+0.0…+0.0"):
        assert part in result.stdout
    words = " ".join(result.stdout.split())
    assert "4 of 5 gold mentions in 2 documents count" in words
    assert "nil=drop (1)" in words
    assert "95% intervals, 1,000 draws of documents, seed 42" in words


def test_other_formats_on_both_sides(bel, pipeline, tmp_path):
    gold = tmp_path / "gold.pubtator"
    gold.write_text(
        "a|t|A fit, an ASD and a cough.\na|a|\na\t2\t5\tfit\tProblem\tHP:1\n"
        "a\t10\t13\tASD\tProblem\tHP:3\n"
    )
    links = tmp_path / "links.xml"
    assert bel("link", gold, "-p", pipeline, "--to", "bioc", "-o", links).exit_code == 0
    report = json.loads(bel("evaluate", links, gold, "--json").stdout)
    assert report["scores"]["mrr"]["value"] == pytest.approx(1.5 / 2)
    # A corpus with codes but no ranks is a system with one candidate.
    report = json.loads(bel("evaluate", gold, gold, "--json").stdout)
    assert report["scores"]["mrr"]["value"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "nil=maybe"], "choose one of drop, count"),
        (["--policy", "strict"], "'strict' is no policy"),
        (["--kb", "nowhere"], "nowhere"),
        (["--baseline", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["--k", "none"], "no list such as 1,5,25"),
    ],
)
def test_mistakes_are_told(bel, run, options, message):
    result = bel("evaluate", *run, *options)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())


def test_gold_as_predictions_of_other_documents(bel, run, write):
    links, _ = run
    gold = write("renamed.jsonl", [{**record, "id": "x" + record["id"]} for record in GOLD])
    result = bel("evaluate", links, gold)
    assert result.exit_code == 1
    assert "same document ids" in result.stderr
