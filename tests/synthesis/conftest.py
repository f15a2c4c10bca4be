import importlib.util

import pytest

from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.synthesis import (
    AnswerStore,
    Asking,
    Budget,
    OpenAIGenerator,
    Patience,
    Prices,
    Synthesis,
    SynthesisReport,
)
from tests.synthesis.service import Service

NAMES = ("Measles", "Mumps", "Rubella", "Scurvy", "Rickets", "Gout", "Tetanus", "Cholera")
QUICK = Patience(tries=4, first=0.01, longest=0.02, failures=3)


@pytest.fixture(scope="session")
def kb():
    """Eight diseases, D:0 … D:7, a drug, and names that concepts share."""
    builder = KnowledgeBaseBuilder("test", release="1", licence="CC0")
    for number, name in enumerate(NAMES):
        text = f"What doctors call {name.lower()}." if number % 2 else ""
        builder.add(Concept(f"DIS:{number}", (name, f"{name} disease"), ("Diseases",), text))
    builder.add(Concept("DRUG:1", ("Colchicine", "Gout remedy"), ("Drugs",)))
    builder.add(Concept("BOTH:1", ("Ergot", "Poison"), ("Diseases", "Drugs")))
    builder.add(Concept("TOX:1", ("Arsenic", "Poison"), ("Drugs",)))
    return builder.build()


@pytest.fixture
def service():
    if importlib.util.find_spec("openai") is None:
        pytest.skip('needs pip install "spacy-bel[synthesis]"')
    with Service() as running:
        yield running


@pytest.fixture
def run(kb, service, tmp_path):
    """Ask the service for sentences; gives documents, report as JSON, and the asking."""

    def start(
        codes=tuple(f"DIS:{i}" for i in range(6)), *, max_cost=None, patience=QUICK, timeout=5.0,
        in_flight=3, tell=lambda message: None, offline=False, progress=lambda done: None,
        generator=None, **settings,
    ):  # fmt: skip
        generator = generator or OpenAIGenerator(
            "m", service.url, max_tokens=300, timeout=timeout, in_flight=in_flight
        )
        path = tmp_path / "answers.jsonl"
        with AnswerStore(path, generator.name, generator.sampling, read_only=offline) as store:
            synthesis = Synthesis(kb, store, **settings)
            budget = Budget(Prices(2.0, 10.0), store.usage, max_cost)
            asking = Asking(generator, store, budget, patience, tell)
            if not offline:
                synthesis.ask(codes, asking, progress)
            report = SynthesisReport()
            documents = list(synthesis.documents(codes, report))
            return (
                documents,
                report.to_json(budget, asking.failed, asking.stopped, {}),
                asking,
            )

    start.path = tmp_path / "answers.jsonl"
    return start
