import json

import pytest

OBO = """format-version: 1.4
data-version: releases/2024-01-01

[Term]
id: T:0
name: Everything

[Term]
id: T:1
name: Finding
is_a: T:0

[Term]
id: T:2
name: Seizure
synonym: "Epileptic [fit]" EXACT []
is_a: T:1

[Term]
id: T:3
name: Recessive
is_a: T:0
"""


@pytest.fixture
def built(bel, tmp_path):
    source = tmp_path / "t.obo"
    source.write_text(OBO, encoding="utf-8")
    result = bel("kb", "build", source, "-o", tmp_path / "kb", "--format", "obo", "--name", "Mini")
    assert result.exit_code == 0
    return tmp_path / "kb"


def test_build_then_info(bel, built):
    meta = json.loads(bel("kb", "info", built, "--json").stdout)
    assert meta["name"] == "Mini"
    assert meta["concepts"] == 4
    assert meta["groups"] == {"Everything": 1, "Finding": 2, "Recessive": 1}
    text = bel("kb", "info", built).stdout
    assert "Mini" in text
    assert "Finding: 2" in text
    assert meta["fingerprint"][:20] in text


def rows(result):
    assert result.exit_code == 0
    return [line for line in result.stdout.splitlines() if "T:" in line]


def test_search_by_name_code_and_similar_text(bel, built):
    assert "T:2" in rows(bel("kb", "search", built, "SEIZURE", "--top", 1))[0]
    assert "T:3" in rows(bel("kb", "search", built, "T:3"))[0]
    similar = rows(bel("kb", "search", built, "epileptik fitt"))[0]
    assert "T:2" in similar
    assert "[fit]" in bel("kb", "search", built, "epileptik fitt").stdout
    in_group = rows(bel("kb", "search", built, "seizure", "--group", "Recessive"))
    assert [row.split()[1] for row in in_group] == ["T:3"]


def test_existing_directories_stay(bel, built, tmp_path):
    arguments = ("kb", "build", tmp_path / "t.obo", "-o", built)
    refused = bel(*arguments)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert bel(*arguments, "--force", "--group", "Things").exit_code == 0
    assert json.loads(bel("kb", "info", built, "--json").stdout)["groups"] == {"Things": 4}


@pytest.mark.parametrize(
    "arguments",
    [
        ("kb", "info", "no-such-directory"),
        ("kb", "build", "no-such-file.obo", "-o", "kb"),
        ("kb", "search", "no-such-directory", "x"),
    ],
)
def test_mistakes_are_told_in_one_line(bel, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = bel(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert "no-such" in result.stderr


def test_an_unknown_group_names_the_known_ones(bel, built):
    result = bel("kb", "search", built, "x", "--group", "Star")
    assert result.exit_code == 1
    assert "Everything, Finding, Recessive" in result.stderr
