"""`bel demo`: two clinical notes, linked to the Human Phenotype Ontology."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from spacy_bel.cli.console import reports_errors
from spacy_bel.errors import MissingDefaultError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from spacy_bel.corpora.document import Annotation, CorpusDocument

NOTES = Path(__file__).parents[2] / "assets" / "notes"
MARKED, RAW = "note.json", "note.txt"
LINES = 3
MEMORY_PROMPT = "hybrid_short"
RECURRING = ("SNHL", "ASD")


@reports_errors
def demo(
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Where demo.html and demo.jsonl go.")
    ] = Path(),
) -> None:
    """Link two clinical notes and show every step of the result.

    The first note marks its mentions, as a named entity recogniser would; in the second the
    dictionary component finds them. Leaves demo.html (open it in a browser) and demo.jsonl.

    \b
    Example:
      python -m spacy bel demo --output-dir /tmp
    """
    from spacy_bel.cli.output import to_record, written_at_the_end
    from spacy_bel.cli.pipeline import link_records, linkers, load_pipeline, mention_key
    from spacy_bel.corpora.reading import read_documents
    from spacy_bel.visual import candidates_table, links_html

    if not (NOTES / MARKED).is_file():
        raise MissingDefaultError(
            f"The notes of the demo are not in {NOTES}: run it in a checkout of spacy-bel, or link "
            "a text of your own with `python -m spacy bel link note.txt`."
        )
    output_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    started = time.perf_counter()
    nlp = load_pipeline(None, None)
    records = [record for name in (MARKED, RAW) for record in read_documents(NOTES / name)]
    linked = list(link_records(nlp, records, batch_size=2, on_failure=_raise))
    for record, doc in linked:
        how = "mentions as marked" if record.annotations else "mentions found by dictionary"
        console.print(candidates_table(doc, title=f"{record.id}: {how}"))
    _show_memory(nlp, records[0], console)
    with written_at_the_end(output_dir / "demo.jsonl") as lines:
        for record, doc in linked:
            result = to_record(record, doc, mention_key(nlp, record), top=5)
            lines.write(json.dumps(result, ensure_ascii=False) + "\n")
    with written_at_the_end(output_dir / "demo.html") as page:
        docs = [doc for _, doc in linked]
        page.write(links_html(docs, kb=linkers(nlp)[-1].kb, title="spacy-bel demo"))
    mentions = sum(len(doc.ents) for _, doc in linked)
    console.print(
        f"{mentions} mentions linked in {time.perf_counter() - started:.1f} s, loading included. "
        f"Open {output_dir / 'demo.html'} in a browser.",
        highlight=False,
    )


def _raise(document: str, error: Exception) -> None:
    raise error


def _show_memory(nlp: Language, record: CorpusDocument, console: Console) -> None:
    """Link recurring mentions with and without the mentions before them in the prompt."""
    from spacy_bel.cli.pipeline import link_records, linkers
    from spacy_bel.longbel.component import LongBELLinker

    linker = linkers(nlp)[-1]
    if not isinstance(linker, LongBELLinker):
        return
    usual = linker.prompt
    console.print(Text("Memory: what the earlier links of a document change", style="bold"))
    console.print(f"  prompt '{MEMORY_PROMPT}'; the pipeline's own is '{usual.name}'")
    linker.set_prompt(MEMORY_PROMPT)
    ((_, doc),) = link_records(nlp, [record], batch_size=1, on_failure=_raise)
    for text in RECURRING:
        last = [mention for mention in record.annotations if mention.text == text][-1]
        alone = _only(record, last)
        ((_, without),) = link_records(nlp, [alone], batch_size=1, on_failure=_raise)
        console.print(Text(f"  last {text!r} of {record.id}, linked after: {_memory(doc, last)}"))
        console.print(Text(f"    with the earlier links: {_best(doc, last)}"))
        console.print(Text(f"    without them: {_best(without, last)}"))
    linker.set_prompt(usual)


def _memory(doc: Doc, mention: Annotation) -> str:
    """The last of the links that the linker has made before a mention."""
    from spacy_bel.candidates import get_candidates

    earlier = [ent for ent in doc.ents if ent.end_char <= mention.start and get_candidates(ent)]
    lines = [f"[{ent.text}] {get_candidates(ent)[0].name}" for ent in earlier[-LINES:]]
    return " · ".join(["…", *lines] if len(earlier) > LINES else lines)


def _only(record: CorpusDocument, mention: Annotation) -> CorpusDocument:
    from spacy_bel.corpora.document import CorpusDocument

    return CorpusDocument(record.id, record.text, record.passages, [mention])


def _best(doc: Doc, mention: Annotation) -> str:
    from spacy_bel.candidates import get_candidates

    span = next(ent for ent in doc.ents if ent.start_char == mention.start)
    candidates = get_candidates(span)[:3]
    return "; ".join(f"{c.code} {c.name} {c.score:.3f}" for c in candidates) or "no candidate"
