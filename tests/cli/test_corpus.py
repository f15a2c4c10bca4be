import json

import pytest

from spacy_bel.corpora import read_documents

PUBTATOR = """1|t|Seizure and fever
1|a|A fit; a fit.
1\t0\t7\tSeizure\tFinding\tHP:1
1\t20\t23\tfit\tFinding\tHP:1
1\t27\t30\tfit\tFinding\tHP:3
1\t12\t17\tfever\tFinding\tHP:77|HP:78

2|t|ASD
2\t0\t3\tASD\tDefect\tHP:3
2\t0\t3\tAS\tDefect\t-1

1|t|The same number
"""


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(PUBTATOR, encoding="utf-8")
    return path


def test_info_counts(bel, corpus):
    result = bel("corpus", "info", corpus, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "documents": 3,
        "mentions": 6,
        "codes": 4,
        "passages": 4,
        "characters": len("Seizure and fever\nA fit; a fit.ASDThe same number"),
        "duplicate_ids": 1,
        "types": {"Finding": 4, "Defect": 2},
        "flags": {"composite": 1, "nil": 1, "overlapping": 2, "misplaced": 1},
        "skipped": 0,
    }
    table = bel("corpus", "info", corpus).stdout
    assert "documents" in table
    assert "Finding: 4" in table


def test_check_against_a_knowledge_base(bel, corpus, kb_path):
    result = bel("corpus", "check", corpus, "--kb", kb_path, "--json")
    assert json.loads(result.stdout) == {
        "mentions": 6,
        "mentions_with_code": 5,
        "covered_mentions": 4,
        "coverage": 0.8,
        "codes": 4,
        "known_codes": 2,
        "unknown_codes": {"HP:77": 1, "HP:78": 1},
        "offset_errors": [{"document": "2", "start": 0, "end": 3, "text": "AS", "found": "ASD"}],
        # Document 1: HP:1 twice, HP:3, HP:77, HP:78; document 2: HP:3.
        "recurrence": 6 / 5,
        # "fever" is no name there, "Seizure" and "fit" of one concept, "ASD" of two.
        "names": {"no concept": 1, "one concept": 3, "several concepts": 1},
        "texts": 4,
        "texts_with_several_codes": 1,
        "skipped": 0,
    }
    assert "'ASD', not 'AS'" in bel("corpus", "check", corpus, "--kb", kb_path).stdout


def test_several_knowledge_bases_cover_together(bel, tmp_path, kb_path, other_kb_path):
    path = tmp_path / "c.jsonl"
    rows = [{"start": 0, "end": 1, "code": code} for code in ("HP:1", "X:2", "Y:3")]
    path.write_text(json.dumps({"text": "abc", "entities": rows}), encoding="utf-8")
    result = bel("corpus", "check", path, "--kb", kb_path, "--kb", other_kb_path, "--json")
    assert json.loads(result.stdout)["covered_mentions"] == 2


@pytest.mark.parametrize("to", ["docbin", "bioc", "bigbio"])
def test_convert_keeps_everything(bel, corpus, tmp_path, to):
    output = tmp_path / {"docbin": "o.spacy", "bioc": "o.xml", "bigbio": "o.jsonl"}[to]
    result = bel("corpus", "convert", corpus, output, "--to", to)
    assert result.exit_code == 0
    assert "6 mentions in 3 documents" in result.stderr

    def content(path):
        return [
            (d.id, d.text, d.passages, [(a.start, a.end, a.type, a.codes) for a in d.annotations])
            for d in read_documents(path)
        ]

    expected = [(*head, sorted(mentions)) for *head, mentions in content(corpus)]
    assert [(*head, sorted(mentions)) for *head, mentions in content(output)] == expected
    refused = bel("corpus", "convert", corpus, output, "--to", to)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert bel("corpus", "convert", corpus, output, "--to", to, "--force").exit_code == 0


def test_a_split_and_a_column(bel, tmp_path, corpus):
    ids = tmp_path / "ids.txt"
    ids.write_text("2\n", encoding="utf-8")
    assert json.loads(bel("corpus", "info", corpus, "--ids", ids, "--json").stdout)["mentions"] == 2
    (tmp_path / "d.txt").write_text("Tos", encoding="utf-8")
    table = tmp_path / "d.tsv"
    table.write_text("filename\toff0\toff1\tspan\tcode\thpo\nd\t0\t3\tTos\t1\t2+3\n")
    plain = json.loads(bel("corpus", "info", table, "--json").stdout)
    other = json.loads(bel("corpus", "info", table, "--code-column", "hpo", "--json").stdout)
    assert (plain["codes"], other["codes"]) == (1, 2)


def test_what_cannot_be_read_stops_or_is_counted_and_listed(bel, corpus, tmp_path):
    with corpus.open("a", encoding="utf-8") as lines:
        lines.write("1\t0\t99\tx\tFinding\tHP:1\n1\t3\tmany\n")
    output = tmp_path / "out.spacy"
    stopped = bel("corpus", "convert", corpus, output, "--to", "docbin")
    assert stopped.exit_code == 1
    assert "corpus.txt, line 13" in stopped.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus.txt"]
    skipping = bel("corpus", "convert", corpus, output, "--to", "docbin", "--on-error", "skip")
    assert skipping.exit_code == 0
    assert "corpus.txt, line 13" in skipping.stderr
    assert "corpus.txt, line 14" in skipping.stderr
    assert "2 skipped" in skipping.stderr
    assert "6 mentions in 3 documents" in skipping.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "none.txt"], "none.txt does not exist"),
        (["info", ".", "--from", "brat"], "holds no corpus file"),
        (["info", ".", "--from", "word"], "Unknown format 'word'"),
        (["convert", "x", "y", "--to", "brat"], "docbin, bioc, bigbio"),
        (["convert", "x", "y", "--to", "docbin", "--lang", "qq"], "no language 'qq'"),
        (["check", "x"], "--kb"),
        (["info", "x", "--on-error", "ignore"], "--on-error"),
    ],
)
def test_mistakes_are_told(bel, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = bel("corpus", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["convert", "info", "check"])
def test_help_teaches_by_example(bel, command):
    result = bel("corpus", command, "--help")
    assert f"python -m spacy bel corpus {command} " in result.stdout
    assert "pubtator, bioc, brat" in " ".join(result.stdout.split())
