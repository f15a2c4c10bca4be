"""`bel candidates`: a corpus with the candidates of a retriever, for re-rankers to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    parse_label_groups,
)
from spacy_bel.cli.retrievers import Named, chosen_retrievers

if TYPE_CHECKING:
    from spacy_bel.corpora.document import CorpusDocument
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.retriever.index import Retriever
    from spacy_bel.retriever.proposals import Proposals


@reports_errors
def candidates(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Annotated corpus: a file or a directory.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="DocBin to write, a .spacy file.")],
    kb: KB,
    config: Annotated[
        Path | None, typer.Option(help="Config of a retriever, or of a pipeline with one.")
    ] = None,
    retriever: Annotated[
        Named | None, typer.Option(help="A retriever with its default settings; else n-grams.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Bi-encoder of --retriever dense; else MiniLM."),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", "-k", min=1, help="Candidates to keep of each mention.")
    ] = 10,
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            help="Add the corpus's own mentions to the names, for each fold those of the others.",
        ),
    ] = 0,
    training_mentions: TrainingMentions = None,
    seed: Annotated[int, typer.Option(help="Seed by which documents are drawn into folds.")] = 0,
    abbreviations: Abbreviations = True,
    composites: Composites = True,
    label: Labels = None,
    label_groups: LabelGroups = None,
    unmapped_labels: UnmappedLabels = Unmapped.error,
    format: CorpusFormat = None,
    lang: Annotated[
        str, typer.Option(help="Language whose rules tokenise the texts and split sentences.")
    ] = "en",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace OUT.")] = False,
) -> None:
    """Write a corpus with the candidates of a retriever on each of its gold mentions.

    Components that re-order candidates learn from it with `spacy train`, where
    "spacy_bel.Corpus.v1" reads it: no retriever runs then. Sentences are marked, too.

    If training mentions are to be names of the knowledge base in use, they must be so here: for
    training documents with --folds, since a mention that is itself a name is always found first,
    and a component that learns from that will trust the first candidate blindly; for all other
    documents with --training-mentions. DIR is the terminology alone.

    \b
    Examples:
      python -m spacy bel candidates train.txt train.spacy --kb medic --folds 5
      python -m spacy bel candidates dev.txt dev.spacy --kb medic --training-mentions train.txt
      python -m spacy bel candidates test.txt test.spacy --kb medic \\
        --training-mentions train.txt --training-mentions dev.txt --config ensemble.cfg
      python -m spacy bel candidates train.txt names-only.spacy --kb mesh -k 25 \\
        --label-groups Disease=Diseases --label-groups "Chemical=Chemicals and Drugs"
    """
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.corpus import blank_pipeline
    from spacy_bel.cli.kb import open_kb
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.corpora.docbin import write_docbin
    from spacy_bel.mentions import GroupMapping
    from spacy_bel.retriever.proposals import Proposals

    check_free(output, force)
    nlp = blank_pipeline(lang)
    chosen = _one_retriever(config, retriever, model)
    terminology = open_kb(kb)
    if terminology.training_mentions is not None:
        say(
            f"{terminology.meta.name} has training mentions already: if they are of {corpus}, take "
            "the terminology without them, and --folds.",
            "yellow",
        )
    groups = GroupMapping(
        terminology, parse_label_groups(label_groups), unmapped_labels.value
    ).groups
    documents = list(read_corpora([corpus], format, label))
    for type in sorted({a.type for document in documents for a in document.annotations}):
        groups(type)  # a label that is not mapped is told before anything is built
    others = list(read_corpora(training_mentions or [], format, label, "Reading training mentions"))
    proposals = Proposals(chosen, groups, k, abbreviations, composites)
    found = _found(proposals, terminology, documents, others, folds, seed)
    with written_at_the_end(output, binary=True) as stream:
        write_docbin(found, stream, nlp, sentences=True)
    print_recall(found, terminology, k)
    say(f"Wrote {len(found):,} documents to {output}.")


def _one_retriever(config: Path | None, named: Named | None, model: str | None) -> Retriever:
    if config and (named or model):
        raise typer.BadParameter("give either --config or --retriever", param_hint="--config")
    (retriever,) = chosen_retrievers(
        [config] if config else [], [named] if named else [], model
    ).values()
    return retriever


def _found(
    proposals: Proposals,
    kb: KnowledgeBase,
    documents: list[CorpusDocument],
    others: list[CorpusDocument],
    folds: int,
    seed: int,
) -> list[CorpusDocument]:
    """The documents with candidates, by a knowledge base that has no mention of their own."""
    from tqdm import tqdm

    from spacy_bel.corpora.folds import without_copies
    from spacy_bel.corpora.training_mentions import add_training_mentions
    from spacy_bel.errors import SettingsError

    kept = without_copies(others, documents)
    if len(kept) < len(others):
        say(
            f"{len(others) - len(kept):,} documents of --training-mentions are documents of the "
            "corpus, too, and add no names.",
            "yellow",
        )
    if folds:
        return proposals.cross_fit(kb, documents, folds=folds, others=kept, seed=seed, progress=say)
    if others and not kept:
        raise SettingsError(
            "All documents of --training-mentions are documents of the corpus itself, whose "
            "mentions would find themselves: use --folds 5 instead."
        )
    searched = add_training_mentions(kb, kept) if kept else kb
    found = proposals.propose(searched, documents)
    return list(tqdm(found, "Searching", len(documents), unit="doc", disable=None, leave=False))


def print_recall(documents: Sequence[CorpusDocument], kb: KnowledgeBase, k: int) -> None:
    """Print how often gold codes are among the candidates, all mentions and by label."""
    from spacy_bel.cli.retrieval_tables import print_whole
    from spacy_bel.cli.scores import scores_table
    from spacy_bel.evaluation.evaluation import Evaluation
    from spacy_bel.evaluation.gold import Judge
    from spacy_bel.evaluation.retrieval import POLICIES

    evaluation = Evaluation(Judge(POLICIES, kb))
    for document in documents:
        # Without links, a gold code would be taken for the answer.
        answers = [replace(annotation, codes=[]) for annotation in document.annotations]
        evaluation.add(document, replace(document, annotations=answers))
    if not evaluation.mentions:
        say("No mention has a gold code, so that there is no recall to tell.", "yellow")
        return
    report = evaluation.report(sorted({rank for rank in (1, 5, k) if rank <= k}))
    rows = [("all", report["scores"])]
    if len(report["per_label"]) > 1:
        rows += report["per_label"].items()
    print_whole(scores_table(rows, title="Gold codes among the candidates, in %", heading="label"))
    empty = sum(not a.links for document in documents for a in document.annotations)
    if empty:
        say(f"{empty:,} mentions have no candidates.", "yellow")
