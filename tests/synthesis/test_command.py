"""`bel synthesize`, and the code blocks of its page."""

import json
import re
import shlex
from pathlib import Path

import pytest
import spacy
import typer
from spacy.cli._util import app as spacy_app
from typer.testing import CliRunner

import spacy_bel.cli  # noqa: F401  (adds `bel` to spaCy's app)
from spacy_bel.cli.synthesize import synthesize
from spacy_bel.corpora import read_documents
from spacy_bel.registry import read_corpus
from tests.synthesis.service import good_answer

PAGE = Path(__file__).parents[2] / "docs" / "synthesis.md"
TEXT = "In the autumn the boy of our neighbours had scurvy again. He got better."
START = TEXT.index("scurvy")
TRAIN = f"a|t|{TEXT}\na|a|\na\t{START}\t{START + 6}\tscurvy\tDiseases\tDIS:3\n\n"


@pytest.fixture
def folder(tmp_path, kb):
    kb.to_disk(tmp_path / "diseases")
    (tmp_path / "train.txt").write_text(TRAIN, encoding="utf-8")
    return tmp_path


@pytest.fixture
def bel(folder, monkeypatch):
    monkeypatch.chdir(folder)
    app = typer.Typer(rich_markup_mode=None)
    app.command()(synthesize)

    def run(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)))

    return run


def test_pages_report_and_a_second_run(bel, folder, service):
    service.behave = lambda code, times: (
        good_answer(code) if code != "DIS:0" else f"{good_answer(code, 2)}\nexample: [no"
    )
    arguments = (
        "diseases", "out.jsonl", "--model", "m", "--base-url", service.url, "--retries", 0,
        "--without-mentions-in", "train.txt", "--style", "train.txt", "--group", "Diseases",
        "--price-in", 1, "--price-out", 10,
    )  # fmt: skip
    result = bel(*arguments)
    assert result.exit_code == 0, result.output
    asked = {"BOTH:1", *(f"DIS:{i}" for i in range(8))} - {"DIS:3"}
    assert service.counts == dict.fromkeys(asked, 1)
    style = "- In the autumn the boy of our neighbours had scurvy again."
    assert all(body["messages"][0]["content"].endswith(style) for body in service.bodies)
    report = json.loads((folder / "out.jsonl.report.json").read_text())
    assert report["sentences"] == 23 and report["concepts"]["partial"] == 1
    assert report["rejected"]["unbalanced_brackets"]["examples"] == [
        {"code": "DIS:0", "line": "[no"}
    ]
    cost = (service.prompt_tokens + 10 * service.completion_tokens) / 1e6
    assert report["paid"]["cost"] == pytest.approx(cost, abs=1e-6)
    assert f"cost {cost:.4f}" in result.stderr and "1 lines not accepted" in result.stderr
    documents = list(read_documents("out.jsonl"))
    assert len({document.id for document in documents}) == 23
    assert {d.annotations[0].type for d in documents} == {"Diseases"}
    # As spaCy reads it for training.
    for example in read_corpus("out.jsonl")(spacy.blank("en")):
        (mention,) = example.reference.ents
        assert mention.kb_id_ in asked and mention.text.endswith(tuple("abcdefgh"))
    written = (folder / "out.jsonl").read_bytes()
    refused = bel(*arguments)
    assert refused.exit_code == 1 and "add --force" in refused.stderr
    assert bel(*arguments, "--force").exit_code == 0
    assert (folder / "out.jsonl").read_bytes() == written and service.counts.total() == 8
    offline = bel(*arguments, "--force", "--offline", "--max-words", 6)
    assert offline.exit_code == 0 and service.counts.total() == 8
    assert (folder / "out.jsonl").read_bytes() == b""


def test_ends_that_are_told(bel, folder, service, monkeypatch):
    arguments = ("diseases", "out.jsonl", "--model", "m", "--base-url", service.url)
    money = ("--price-in", 1, "--price-out", 10, "--max-cost", 0.009)
    short = bel(*arguments, *money)
    assert short.exit_code == 0 and "could exceed the 0.009" in short.stderr
    assert 0 < service.counts.total() < 11
    service.behave = lambda code, times: ("status", 401, {})
    refused = bel(*arguments, "--force")
    assert refused.exit_code == 1 and "Check the address" in refused.stderr
    service.behave = lambda code, times: ("status", 400, {})
    before = service.counts.total()
    down = bel(*arguments, "--force", "--in-flight", 1)
    assert down.exit_code == 1 and "10 requests in a row" in " ".join(down.stderr.split())
    assert service.counts.total() == before + 10

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("spacy_bel.synthesis.run.Synthesis.ask", interrupt)
    stopped = bel(*arguments, "--force")
    assert stopped.exit_code == 130 and "the same command goes on" in stopped.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codes", "codes.txt"], "No concept of test is left"),
        (["--group", "Plants"], "no semantic group 'Plants'"),
        (["--language", "de"], "choose one of en, fr, es"),
        (["--max-cost", "1"], "give the prices"),
        (["--extra", "[1]"], "write a JSON object"),
        (["--limit-parameter", "tokens"], "write max_tokens"),
        (["--offline"], "no answers at"),
        (["--min-words", "70"], "words cannot be"),
        (["--price-in", "-1"], "Prices are numbers"),
        (["--style", "other.txt"], "mention label 'Other' is no semantic group"),
    ],
)
def test_options_that_cannot_be_used(bel, folder, options, message):
    (folder / "codes.txt").write_text("nothing\n")
    (folder / "other.txt").write_text(TRAIN.replace("\tDiseases", "\tOther"))
    result = bel("diseases", "out.jsonl", "--model", "m", *options)
    assert result.exit_code in (1, 2)
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())
    assert not (folder / "out.jsonl").exists()


def test_code_blocks_of_the_page_run(folder, service, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    page = PAGE.read_text(encoding="utf-8").replace("http://localhost:8000/v1", service.url)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["bash", "bash", "ini", "python"]
    for kind, block in blocks:
        if kind == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                python, m, spacy_, *arguments = shlex.split(line)
                assert (python, m, spacy_) == ("python", "-m", "spacy")
                done = CliRunner().invoke(spacy_app, arguments)
                assert done.exit_code == 0, f"{line}\n{done.output}"
        elif kind == "ini":
            config = spacy.util.load_config_from_str(f"[corpora]\n{block}")
            reader = spacy.util.registry.resolve(config)["corpora"]["train"]
            read = [example.reference.ents[0].kb_id_ for example in reader(spacy.blank("en"))]
            # Human and synthetic mentions in turns, the one human document again and again.
            assert len(read) == 60 and set(read[::2]) == {"DIS:3"} != set(read[1::2])
        else:
            capsys.readouterr()
            exec(compile(block, str(PAGE), "exec"), {})
            assert len(capsys.readouterr().out.splitlines()) == 9
    # Ten concepts without mentions, and three with prompts without style.
    assert service.counts.total() == 13
