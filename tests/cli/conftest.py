import pytest
import spacy
from spacy.cli._util import app
from spacy.language import Language
from typer.testing import CliRunner

import spacy_bel.cli  # noqa: F401  (adds `bel` to spaCy's app)
from spacy_bel.candidates import Candidate
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.linking_pipe import LinkingPipe


class ExactLinker(LinkingPipe):
    """Links mentions that are names of the knowledge base; fails on some texts, for the tests."""

    def link(self, docs):
        for marked in docs:
            if "interrupt" in marked.doc.text:
                raise KeyboardInterrupt
            if "explode" in marked.doc.text:
                yield ValueError("it exploded")
                continue
            yield [
                [
                    Candidate(code, self.kb.preferred_name(code), 1.0 - rank / 10)
                    for rank, code in enumerate(self.kb.find(mention.span.text))
                ]
                for mention in marked.mentions
            ]


@Language.factory("exact_linker", assigns=["token.ent_kb_id"])
def make_exact_linker(nlp, name, kb: str):
    return ExactLinker(nlp, name, kb=kb, unmapped_labels="all", store_kb=False)


def write_kb(path, prefix):
    builder = KnowledgeBaseBuilder(f"test {prefix}", release="1", licence="CC0")
    builder.add(Concept(f"{prefix}:1", ("Seizure", "Fit", "ASD"), ("Findings",)))
    builder.add(Concept(f"{prefix}:2", ("Febrile seizure",), ("Findings",)))
    builder.add(Concept(f"{prefix}:3", ("Atrial septal defect", "ASD"), ("Findings", "Defects")))
    builder.write(path)
    return path


@pytest.fixture(scope="session")
def kb_path(tmp_path_factory):
    return write_kb(tmp_path_factory.mktemp("kb") / "hp", "HP")


@pytest.fixture(scope="session")
def other_kb_path(tmp_path_factory):
    return write_kb(tmp_path_factory.mktemp("kb") / "other", "X")


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory, kb_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("bel_dictionary", config={"kb": str(kb_path), "store_kb": False})
    nlp.add_pipe("exact_linker", config={"kb": str(kb_path)})
    path = tmp_path_factory.mktemp("pipeline") / "pipeline"
    nlp.to_disk(path)
    return path


@pytest.fixture
def bel():
    """Run `spacy bel …` in this process; gives exit code, stdout and stderr."""

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, ["bel", *map(str, arguments)], input=stdin)

    return run
