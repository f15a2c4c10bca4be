import json

import pytest

from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.readers import FORMATS
from tests.kb.reader_fixtures import SUPPLEMENT, write_source

BABELON = (
    "subject_id\tpredicate_id\ttranslation_value\nA:1\trdfs:label\tConvulsión\n"
    "A:9\trdfs:label\tNada\n"
)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_built(bel, tmp_path, format):
    source = write_source(tmp_path, format)
    result = bel("kb", "build", source, "-o", tmp_path / "kb", "--format", format)
    assert result.exit_code == 0, result.stderr
    assert "Read " in result.stderr
    meta = json.loads(bel("kb", "info", tmp_path / "kb", "--json").stdout)
    assert meta["concepts"] > 0
    assert format in bel("kb", "build", "--help").stdout


@pytest.mark.parametrize(
    ("format", "options", "code", "names"),
    [
        ("umls", ("--language", "SPA"), "C0000001", ("Convulsión",)),
        ("umls", ("--sab", "SNOMEDCT_US"), "C0000001", ("Convulsion",)),
        ("umls", ("--semantic-type", "ANAT"), "C0000002", ("Brain",)),
        ("umls", ("--suppressible", "--sab", "NCI"), "C0000004", ("Idea",)),
        ("snomed", ("--language", "es"), "10", ("Convulsión",)),
        ("table", ("--column", "name=synonyms", "--separator", ";"), "X:1", ("Fit|Convulsion",)),
        ("medic", ("--clean", "lower"), "C500001", ("another disorder",)),
    ],
)
def test_options_reach_the_reader(bel, tmp_path, format, options, code, names):
    source = write_source(tmp_path, format)
    result = bel("kb", "build", source, "-o", tmp_path / "kb", "--format", format, *options)
    assert result.exit_code == 0, result.stderr
    assert KnowledgeBase.from_disk(tmp_path / "kb")[code].names == names


def test_options_of_other_formats_are_refused(bel, tmp_path):
    source = write_source(tmp_path, "obo")
    result = bel("kb", "build", source, "-o", tmp_path / "kb", "--language", "ENG")
    assert result.exit_code == 1
    assert "format obo has no option languages" in result.stderr
    result = bel("kb", "build", source, "-o", tmp_path / "kb", "--column", "name")
    assert result.exit_code == 2
    assert not (tmp_path / "kb").exists()


def test_supplements(bel, tmp_path):
    (tmp_path / "supp.xml").write_text(SUPPLEMENT)
    source = write_source(tmp_path, "mesh")
    out = tmp_path / "kb"
    assert (
        bel("kb", "build", source, "-o", out, "--supplement", tmp_path / "supp.xml").exit_code == 0
    )
    assert "C000009" in KnowledgeBase.from_disk(out)


def test_skipped_entries_and_changed_names_are_listed(bel, tmp_path):
    source = tmp_path / "t.tsv"
    source.write_text("code\tname\tsynonyms\n1\tFever\tHot|FEVER\n\tlost\n2\ta\tb\tc\n2\tHot\n")
    out, report = tmp_path / "kb", tmp_path / "report.tsv"
    refused = bel("kb", "build", source, "-o", out)
    assert (refused.exit_code, out.exists()) == (1, False)
    assert "t.tsv, line 3" in refused.stderr
    arguments = ("kb", "build", source, "-o", out, "--on-error", "skip", "--report", report)
    result = bel(*arguments, "--disambiguate", "longbel")
    assert result.exit_code == 0, result.stderr
    assert "2 damaged entries were skipped" in result.stderr
    assert result.stderr.count("t.tsv, line 3") == 1
    assert "names: capitals" in result.stderr
    rows = [line.split("\t") for line in report.read_text().splitlines()]
    assert [row[0] for row in rows] == ["what", "skipped", "skipped", "ambiguous", "capitals"]
    assert rows[4] == ["capitals", "1", "FEVER", ""]
    assert bel(*arguments, "--force").exit_code == 0
    assert bel(*arguments).exit_code == 1


def test_merge(bel, tmp_path):
    source = write_source(tmp_path, "obo")
    assert bel("kb", "build", source, "-o", tmp_path / "kb").exit_code == 0
    names = tmp_path / "es.tsv"
    names.write_text(BABELON)
    extra = tmp_path / "extra.csv"
    extra.write_text("code,name\nA:2,Hot fit\n")
    result = bel("kb", "merge", tmp_path / "kb", names, extra, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "2 names added to 2 concepts" in result.stderr
    assert "1 codes are not in" in result.stderr and "A:9" in result.stderr
    kb = KnowledgeBase.from_disk(tmp_path / "out")
    assert kb["A:1"].names == ("Seizure", "Fit", "Convulsión")
    assert kb["A:2"].names[-1] == "Hot fit"
    assert bel("kb", "merge", tmp_path / "kb", names, "-o", tmp_path / "out").exit_code == 1
    again = bel(
        "kb", "merge", tmp_path / "kb", names, "-o", tmp_path / "out", "--force", "--prefer"
    )
    assert again.exit_code == 0
    assert KnowledgeBase.from_disk(tmp_path / "out").preferred_name("A:1") == "Convulsión"


def test_merge_of_two_terminologies(bel, tmp_path):
    for format in ("obo", "medic"):
        source = write_source(tmp_path, format)
        assert bel("kb", "build", source, "-o", tmp_path / format).exit_code == 0
    medic = write_source(tmp_path, "medic")
    for number, other in enumerate((tmp_path / "medic", medic)):
        out = tmp_path / f"both{number}"
        result = bel("kb", "merge", tmp_path / "obo", other, "-o", out, "--new-concepts")
        assert result.exit_code == 0, result.stderr
        assert sorted(KnowledgeBase.from_disk(out)) == ["A:1", "A:2", "C500001", "D000001"]


def test_search_in_a_merged_directory(bel, tmp_path):
    source = write_source(tmp_path, "gazetteer")
    assert bel("kb", "build", source, "-o", tmp_path / "kb").exit_code == 0
    assert "convulsión" in bel("kb", "search", tmp_path / "kb", "ataque").stdout
