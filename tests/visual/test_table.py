import io

import spacy
from rich.console import Console
from spacy.tokens import Span

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.visual import candidates_table


def test_table_shows_the_best_candidates_literally():
    nlp = spacy.blank("en")
    doc = nlp.make_doc("One [bold]fit[/] and a cough")
    doc.ents = [Span(doc, 1, 2, label="[red]G"), Span(doc, len(doc) - 1, len(doc), label="G")]
    names = ["[link=x]first[/link]", "second", "third"]
    set_candidates(
        doc.ents[0], [Candidate(f"C{i}", name, 0.9 - i / 10) for i, name in enumerate(names)]
    )
    out = io.StringIO()
    Console(file=out, width=200).print(candidates_table(doc, top=2))
    text = out.getvalue()
    assert "[link=x]first[/link] 0.900" in text
    assert "C1 second 0.800" in text
    assert "third" not in text
    assert "[red]G" in text
    assert doc.ents[0].text in text
    assert "cough" in text
