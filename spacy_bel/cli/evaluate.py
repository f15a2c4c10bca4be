"""`bel evaluate`: ranked links beside gold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from spacy_bel.cli.console import reports_errors

if TYPE_CHECKING:
    from spacy_bel.corpora.document import CorpusDocument


@reports_errors
def evaluate(
    predictions: Annotated[
        str, typer.Argument(metavar="PRED", help="Output of `bel link`, or any corpus format.")
    ],
    gold: Annotated[
        str, typer.Argument(metavar="GOLD", help="Annotated corpus: a file or a directory.")
    ],
    kb: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help='Knowledge base that resolves codes, or "default"; else codes count as written.',
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="PRED2", help="Predictions of another run, to be compared with."),
    ] = None,
    k: Annotated[
        list[str] | None,
        typer.Option(help="Ranks at which recall is taken, e.g. 1,5,25, the default."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Policy as name=choice; may be repeated. See above.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format of GOLD; else told from it.")] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Draws of documents.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 42,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score ranked links against gold codes: recall at k and mean reciprocal rank (MRR).

    Mentions are matched by document id, offsets and label. A gold mention that PRED does not mark
    is a miss. Intervals come from drawing documents with replacement, differences between PRED and
    PRED2 from the same draws.

    \b
    Policies for gold mentions about which evaluations differ (the default first):
      composite=strict|any|drop    several concepts: all of them asked for, any of them, left out
      nil=drop|count               no concept: left out, or right if PRED says NIL
      out_of_kb=miss|drop          a concept that --kb does not know
      obsolete=resolve|miss        a code that --kb has replaced
      overlapping=keep|drop        sharing characters with a longer mention
      discontinuous=keep|drop      of several pieces

    \b
    Examples:
      python -m spacy bel link assets/hpo_notes/dev.jsonl -o links.jsonl --top 25
      python -m spacy bel evaluate links.jsonl assets/hpo_notes/dev.jsonl --kb default
      python -m spacy bel evaluate new.jsonl gold.xml --baseline old.jsonl --policy nil=count --json
    """
    from spacy_bel.cli.kb import open_kb
    from spacy_bel.cli.scores import counts_text, scores_table
    from spacy_bel.evaluation import Policies
    from spacy_bel.evaluation import evaluate as run

    ks, policies = ranks(",".join(k or ["1,5,25"])), Policies.parse(policy or ())
    knowledge_base = None if kb is None else open_kb(kb)

    results = [
        run(
            _documents(path, None, "Reading predictions"),
            _documents(gold, format, "Evaluating"),
            kb=knowledge_base,
            policies=policies,
        )
        for path in (predictions, baseline)
        if path is not None
    ]
    report = results[0].report(
        ks, baseline=results[1] if baseline else None, replicates=replicates, seed=seed
    )
    if as_json:
        sources = {"predictions": predictions, "gold": gold, "baseline": baseline, "kb": kb}
        typer.echo(json.dumps({**sources, **report}, ensure_ascii=False, indent=2))
        return
    console = Console()
    rows = [("all", report["scores"])]
    if len(report["per_label"]) > 1:
        rows += report["per_label"].items()
    if set(report["per_group"]) - set(report["per_label"]):
        rows += [(f"group {group}", row) for group, row in report["per_group"].items()]
    if baseline:
        rows.insert(1, ("baseline", report["baseline"]))
    console.print(scores_table(rows, title="Recall and MRR in %"))
    if baseline:
        difference = [("PRED - baseline", report["difference"])]
        console.print(scores_table(difference, title="Difference in points", signed=True))
    console.print(counts_text(report), markup=False, highlight=False)


def ranks(text: str) -> list[int]:
    """Ranks from "1,5,25"."""
    try:
        ks = sorted({int(part) for part in text.replace(",", " ").split()})
    except ValueError:
        ks = []
    if not ks or ks[0] < 1:
        raise typer.BadParameter(f"{text!r} is no list such as 1,5,25", param_hint="--k")
    return ks


def _documents(path: str, format: str | None, what: str) -> Iterator[CorpusDocument]:
    from tqdm import tqdm

    from spacy_bel.corpora.reading import read_documents

    # disable=None: no bar where standard error is no terminal.
    yield from tqdm(read_documents(path, format), what, unit="doc", disable=None, leave=False)
