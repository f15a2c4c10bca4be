import json
import subprocess
import sys

import pytest

NOTES = [
    {"id": "a", "text": "One fit and a cough.", "meta": {"ward": 1}, "source": "x"},
    {
        "id": "b",
        "text": "A febrile seizure with ASD and fits.",
        "entities": [
            {"start": 2, "end": 17, "label": "Problem"},
            {"start": 10, "end": 17, "label": "Problem"},
            {"start": 31, "end": 35, "label": "Problem"},
        ],
    },
    {"id": "c", "text": "Nothing to see."},
]


@pytest.fixture
def notes(tmp_path):
    def write(records=NOTES):
        path = tmp_path / "notes.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        return path

    return write


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_documents_come_out_in_order_with_candidates_and_their_other_keys(
    bel, notes, pipeline, tmp_path
):
    output = tmp_path / "out.jsonl"
    result = bel("link", notes(), "-p", pipeline, "-o", output)
    assert result.exit_code == 0
    assert result.stdout == ""
    first, second, third = read(output)
    assert first == {
        "id": "a",
        "text": "One fit and a cough.",
        "mentions": [
            {
                "start": 4,
                "end": 7,
                "text": "fit",
                "label": "Findings",
                "code": "HP:1",
                "candidates": [{"code": "HP:1", "name": "Seizure", "score": 1.0}],
            }
        ],
        "meta": {"ward": 1},
        "source": "x",
    }
    # Marked mentions are linked as they are, nested ones too, and no other is looked for.
    assert [(m["text"], m["label"], m["code"]) for m in second["mentions"]] == [
        ("febrile seizure", "Problem", "HP:2"),
        ("seizure", "Problem", "HP:1"),
        ("fits", "Problem", "NIL"),
    ]
    assert third["mentions"] == []
    assert not output.with_name("out.jsonl.part").exists()


def test_output_can_be_linked_again(bel, notes, pipeline, other_kb_path, tmp_path):
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    assert bel("link", notes(), "-p", pipeline, "-o", once).exit_code == 0
    assert bel("link", once, "-p", pipeline, "--kb", other_kb_path, "-o", twice).exit_code == 0
    codes = [[m["code"] for m in record["mentions"]] for record in read(twice)]
    assert codes == [["X:1"], ["X:2", "X:1", "NIL"], []]
    assert read(twice)[0]["meta"] == {"ward": 1}


def test_standard_input_to_standard_output(bel, pipeline):
    result = bel("link", "-", "-p", pipeline, "--top", 1, stdin="Größe: an ASD")
    (record,) = map(json.loads, result.stdout.splitlines())
    assert record["text"] == "Größe: an ASD"
    (mention,) = record["mentions"]
    assert [c["code"] for c in mention["candidates"]] == ["HP:1"]


def test_other_formats_and_a_page(bel, pipeline, tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("7|t|<b> Seizure </b>\n7|a|\n7\t4\t11\tSeizure\tFindings\tHP:9\n")
    page = tmp_path / "page.html"
    result = bel("link", source, "-p", pipeline, "--html", page, "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0
    (record,) = read(tmp_path / "out.jsonl")
    assert [(m["start"], m["code"]) for m in record["mentions"]] == [(4, "HP:1")]
    html = page.read_text(encoding="utf-8")
    assert "https://hpo.jax.org/browse/term/HP:1" in html
    assert "&lt;b&gt;" in html
    assert html.endswith("</html>\n")


def test_bioc_with_ranked_links(bel, notes, pipeline, tmp_path):
    from spacy_bel.corpora import read_documents

    output = tmp_path / "links.xml"
    result = bel("link", notes(), "-p", pipeline, "--to", "bioc", "-o", output)
    assert result.exit_code == 0
    content = output.read_text(encoding="utf-8")
    assert '<infon key="all_links">HP:1=1</infon>' in content
    first, second, third = read_documents(output)
    assert first.meta == {"meta": {"ward": 1}, "source": "x"}
    # Found by the pipeline, and marked in the input: nested ones and one without a link too.
    assert [(a.text, a.type, a.links[0][:2]) for a in first.annotations] == [
        ("fit", "Findings", ("HP:1", "Seizure"))
    ]
    assert [(a.text, [c.code for c in a.links], a.codes) for a in second.annotations] == [
        ("febrile seizure", ["HP:2"], []),
        ("seizure", ["HP:1"], []),
        ("fits", [], []),
    ]
    assert third.annotations == []
    again = bel("link", output, "-p", pipeline, "--to", "bioc", "-o", tmp_path / "again.xml")
    assert again.exit_code == 0
    assert (tmp_path / "again.xml").read_text(encoding="utf-8") == content


def test_a_corpus_directory_is_linked_directly(bel, pipeline, tmp_path):
    (tmp_path / "1.txt").write_text("Seizure or no seizure", encoding="utf-8")
    (tmp_path / "1.ann").write_text(
        "T1\tX 0 7;14 21\tSeizure seizure\nT2\tX 0 7\tSeizure\n#1\tAnnotatorNotes T2\tHP:9\n",
        encoding="utf-8",
    )
    for to in ("jsonl", "bioc"):
        output = tmp_path / f"out.{to}"
        assert (
            bel("link", tmp_path / "1.ann", "-p", pipeline, "--to", to, "-o", output).exit_code == 0
        )
    from spacy_bel.corpora import read_documents

    pieces, whole = next(read_documents(tmp_path / "out.bioc", "bioc")).annotations
    assert (pieces.fragments, pieces.links) == ([(0, 7), (14, 21)], [])
    assert ([c.code for c in whole.links], whole.codes) == (["HP:1"], [])
    (record,) = read(tmp_path / "out.jsonl")
    assert [m["code"] for m in record["mentions"]] == ["NIL", "HP:1"]


def test_a_failing_document_is_reported_and_the_others_are_linked(bel, notes, pipeline, tmp_path):
    path = notes(
        [NOTES[0], {"id": "bad", "text": "will explode"}, {"id": "half", "text": "\ud800"}]
    )
    with path.open("a", encoding="utf-8") as lines:
        lines.write('{broken\n{"id": "last", "text": "A fit"}\n')
    output = tmp_path / "out.jsonl"
    result = bel("link", path, "-p", pipeline, "-o", output)
    assert result.exit_code == 1
    assert [record["id"] for record in read(output)] == ["a", "last"]
    assert "Document bad was not linked (ValueError): it exploded" in result.stderr
    assert "Document half" in result.stderr
    assert "notes.jsonl, line 4" in result.stderr
    assert "3 failed" in result.stderr


def test_an_aborted_run_keeps_what_was_finished(bel, notes, pipeline, tmp_path):
    path = notes([NOTES[0], {"id": "z", "text": "now interrupt"}])
    output = tmp_path / "out.jsonl"
    result = bel("link", path, "-p", pipeline, "-o", output, "--batch-size", 1)
    assert result.exit_code != 0
    assert not output.exists()
    part = tmp_path / "out.jsonl.part"
    assert [record["id"] for record in read(part)] == ["a"]
    assert "out.jsonl.part" in result.stderr
    # It is not overwritten by mistake either.
    assert bel("link", notes(), "-p", pipeline, "-o", output).exit_code == 1
    assert [record["id"] for record in read(part)] == ["a"]


def test_existing_output_is_replaced_only_on_demand(bel, notes, pipeline, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    refused = bel("link", notes(), "-p", pipeline, "-o", output)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert output.read_text() == "precious"
    assert bel("link", notes(), "-p", pipeline, "-o", output, "--force").exit_code == 0
    assert len(read(output)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl"], "none.jsonl does not exist"),
        ([".", "-p", "no_such_pipeline"], "Cannot load the pipeline 'no_such_pipeline'"),
    ],
)
def test_mistakes_are_told_in_one_line_and_leave_nothing(
    bel, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    result = bel("link", *arguments, "-o", "out.jsonl")
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline_without_linker_is_refused(bel, notes, tmp_path):
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    result = bel("link", notes(), "-p", tmp_path / "blank")
    assert result.exit_code == 1
    assert "no linking component" in result.stderr


def test_the_command_line_is_light_to_import():
    code = (
        "import sys, spacy_bel.cli; "
        "heavy = {'sklearn', 'spacy_bel.kb.knowledge_base', 'spacy_bel.linking_pipe'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spacy_finds_the_command():
    command = [sys.executable, "-m", "spacy", "bel", "link", "--help"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "python -m spacy bel link note.txt --html note.html" in result.stdout
