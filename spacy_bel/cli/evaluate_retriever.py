"""`bel evaluate-retriever`: recall of candidates, and what an index costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.mention_options import (
    KB,
    Abbreviations,
    Composites,
    CorpusFormat,
    LabelGroups,
    Labels,
    TrainingMentions,
    Unmapped,
    UnmappedLabels,
    open_searched,
    parse_label_groups,
)
from spacy_bel.cli.retrievers import Named, chosen_retrievers

if TYPE_CHECKING:
    from spacy_bel.corpora.document import CorpusDocument
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.retriever.index import Retriever


@reports_errors
def evaluate_retriever(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Annotated corpus: a file or a directory.")
    ],
    kb: KB,
    config: Annotated[
        list[Path] | None,
        typer.Option(help="Config of a retriever; may be repeated, to compare several."),
    ] = None,
    retriever: Annotated[
        list[Named] | None,
        typer.Option(help="A retriever with its default settings; may be repeated."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Bi-encoder of --retriever dense; else MiniLM."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS", help="Training corpus, for the rows of unseen mentions."),
    ] = None,
    training_mentions: TrainingMentions = None,
    abbreviations: Abbreviations = True,
    composites: Composites = True,
    label: Labels = None,
    label_groups: LabelGroups = None,
    unmapped_labels: UnmappedLabels = Unmapped.error,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="As in `bel evaluate`, as name=choice; may be repeated."),
    ] = None,
    k: Annotated[
        list[str] | None,
        typer.Option(help="Ranks at which recall is taken; 1,5,10,25,50,100,200 by default."),
    ] = None,
    format: CorpusFormat = None,
    costs: Annotated[
        bool, typer.Option(help="Also measure build time, memory and speed, in own processes.")
    ] = True,
    replicates: Annotated[int, typer.Option(min=1, help="Draws of documents.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 42,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the figures as JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output.")] = False,
) -> None:
    """Measure how often the right concept is among the k best candidates of gold mentions.

    This is what a reranker or a reader can reach at best. Rows: all mentions, each label and
    semantic group, and with --train mentions and codes that training has never seen. "ceiling" is
    the share of mentions that the knowledge base makes reachable. Intervals come from drawing
    documents. A mention of several concepts counts as found if one of them is
    (--policy composite=strict changes that), one without concept is left out.

    The others of several retrievers are compared with the first; those of configs come first.

    \b
    A config holds a block [retriever], or a whole pipeline with bel_retriever:
      [retriever]
      @misc = "spacy_bel.NgramRetriever.v1"
      ngram_range = [3, 3]

    \b
    Examples:
      python -m spacy bel evaluate-retriever dev.txt --kb medic
      python -m spacy bel evaluate-retriever dev.txt --kb medic --train train.txt --no-abbreviations
      python -m spacy bel evaluate-retriever dev.txt --kb medic --training-mentions train.txt
      python -m spacy bel evaluate-retriever dev.txt --kb mesh --label Chemical \\
        --label-groups "Chemical=Chemicals and Drugs" --retriever dense --model my-encoder
      python -m spacy bel evaluate-retriever dev.txt --kb medic --config a.cfg --config b.cfg
    """
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.evaluate import ranks
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.evaluation.policies import Policies
    from spacy_bel.evaluation.retrieval import KS

    check_free(output, force)
    ks = ranks(",".join(k)) if k else list(KS)
    policies = Policies.parse(["composite=any", *(policy or ())])
    groups = parse_label_groups(label_groups)
    systems = chosen_retrievers(config or [], retriever or [], model)
    knowledge_base = open_searched(kb, training_mentions, format, label)
    seen = [*(train or []), *(training_mentions or [])]
    settings = {
        "train": list(read_corpora(seen, format, label)) if seen else None,
        "abbreviations": abbreviations,
        "composites": composites,
        "label_groups": groups,
        "unmapped_labels": unmapped_labels.value,
        "policies": policies,
        "k": max(ks),
    }
    documents = list(read_corpora([corpus], format, label))
    options = {"replicates": replicates, "seed": seed}
    reports = _measure(systems, knowledge_base, documents, settings, ks, options, costs)
    result = {
        "corpus": corpus,
        "train": seen,
        "abbreviations": abbreviations,
        "composites": composites,
        "systems": reports,
    }
    text = json.dumps(result, ensure_ascii=False, indent=2)
    if output:
        with written_at_the_end(output) as stream:
            stream.write(text + "\n")
        say(f"Wrote {output}.")
    if as_json:
        typer.echo(text)
    else:
        from spacy_bel.cli.retrieval_tables import show

        show(result)


def _measure(
    systems: dict[str, Retriever],
    kb: KnowledgeBase,
    documents: list[CorpusDocument],
    settings: dict[str, Any],
    ks: list[int],
    options: dict[str, Any],
    costs: bool,
) -> dict[str, Any]:
    """Reports by name of the system; all but the first are compared with it."""
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from tqdm import tqdm

    from spacy_bel.evaluation.retrieval import evaluate_retriever as evaluate
    from spacy_bel.retriever.footprint import measure_footprint

    first = None
    reports: dict[str, Any] = {}
    for name, retriever in systems.items():
        with TemporaryDirectory() as directory:
            if costs:
                say(f"{name}: building, and measuring what that takes")
                mentions = [a.text for document in documents for a in document.annotations]
                footprint = measure_footprint(retriever, kb, directory, mentions)
                index = retriever.from_disk(Path(directory) / "index", kb)
            else:
                index = retriever.build(kb, progress=True)
            bar = tqdm(documents, f"Searching, {name}", unit="doc", disable=None, leave=False)
            found = evaluate(index, bar, **settings)
            del index  # its files go with the directory
        report = found.report(ks, baseline=first, **options)
        reports[name] = {**report, "footprint": asdict(footprint) if costs else None}
        first = first or found
    return reports
