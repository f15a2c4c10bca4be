"""`bel examples`: what a generator learns from, as a dataset on disk."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.mention_options import (
    KB,
    CorpusFormat,
    LabelGroups,
    Labels,
    TrainingMentions,
    Unmapped,
    UnmappedLabels,
    open_searched,
    parse_label_groups,
)

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.longbel.prompts import Prompt
    from spacy_bel.longbel.training.targets import TargetChooser


class Target(str, Enum):
    """Ways of choosing the name of a concept that is learned."""

    tfidf = "tfidf"
    embedding = "embedding"
    levenshtein = "levenshtein"
    preferred_name = "title"


class Memory(str, Enum):
    """Where the earlier links of prompts come from."""

    gold = "gold"
    predicted = "predicted"
    none = "none"


class Shown(str, Enum):
    """Which earlier links prompts show."""

    all = "all"
    recent = "recent"
    confident = "confident"


class Groups(str, Enum):
    """Where the semantic groups of mentions come from."""

    label = "label"
    reference = "reference"


@reports_errors
def examples(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Annotated corpus: a file or a directory.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write.")],
    kb: KB,
    prompt: Annotated[str, typer.Option(help="Format of the prompts.")] = "hybrid_long",
    target: Annotated[
        Target,
        typer.Option(help="How the name of a concept is chosen that is most like a mention."),
    ] = Target.tfidf,
    encoder: Annotated[
        str | None, typer.Option(metavar="DIR", help="Bi-encoder of --target embedding.")
    ] = None,
    memory: Annotated[
        Memory, typer.Option(help="Earlier links: gold, the corpus's own candidates, or none.")
    ] = Memory.gold,
    shown: Annotated[Shown, typer.Option(help="Which earlier links prompts show.")] = Shown.all,
    memory_size: Annotated[
        int | None, typer.Option(min=1, help="How many, if not all are shown.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Model that is to be trained; prompts are cut to fit it."),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of prompt and name, if fewer than --model can read."),
    ] = None,
    composites: Annotated[bool, typer.Option(help="Learn mentions of several concepts.")] = True,
    groups: Annotated[
        Groups,
        typer.Option(help="Semantic groups: of labels, or of gold codes as in published figures."),
    ] = Groups.label,
    abbreviations: Annotated[
        bool, typer.Option(help="Write out short forms that a document defines, in mentions.")
    ] = False,
    training_mentions: TrainingMentions = None,
    label: Labels = None,
    label_groups: LabelGroups = None,
    unmapped_labels: UnmappedLabels = Unmapped.error,
    format: CorpusFormat = None,
    lang: Annotated[
        str, typer.Option(help="Language whose rules tokenise the texts and split sentences.")
    ] = "en",
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace examples made from something else.")
    ] = False,
) -> None:
    """Write what longbel_linker learns from: prompts, and the names that are to follow them.

    For each mention that has a gold code one name of its concept is chosen; which mentions were
    left out, and why, is printed and stored in OUT/meta.json. Examples that are there already are
    not made again. Needs the extra 'train'.

    With --memory predicted the candidates that mentions carry stand for earlier links: CORPUS must
    have been linked by models that have not seen it. Without --model names are not checked against
    a tokenizer, and prompts are as long as they get.

    \b
    Examples:
      python -m spacy bel examples train.txt examples --kb medic --model llama
      python -m spacy bel examples train.spacy examples --kb mesh --prompt hybrid_short \\
        --memory predicted --label-groups Disease=Diseases
      python -m spacy bel examples train.txt examples --kb medic --prompt short --target title
    """
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.corpus import blank_pipeline
    from spacy_bel.longbel.memory_policy import memory_policy
    from spacy_bel.longbel.training.building import ExampleBuilder
    from spacy_bel.longbel.training.dataset import build_dataset, file_fingerprint
    from spacy_bel.longbel.training.golden import golden
    from spacy_bel.mentions import GroupMapping

    chosen = _prompt(prompt)
    nlp = blank_pipeline(lang)
    terminology = open_searched(kb, training_mentions, format, label)
    if terminology.training_mentions is not None:
        say(
            f"{terminology.meta.name} has training mentions: if they are of {corpus}, every "
            "mention is its own name, and nothing but copying is learned.",
            "yellow",
        )
    mapping = GroupMapping(terminology, parse_label_groups(label_groups), unmapped_labels.value)
    builder = ExampleBuilder(
        terminology,
        chosen,
        _targets(target.value, terminology, encoder),
        memory=memory.value,
        policy=memory_policy(shown.value, memory_size),
        groups=groups.value,
        composites=composites,
        **_room(model, chosen, terminology, max_length, composites),
    )
    groups_of = sorted(mapping.label_groups.items())
    read_as = (label, groups_of, unmapped_labels.value, format, lang, abbreviations)
    dataset = build_dataset(
        output,
        builder,
        golden(read_corpora([corpus], format, label), nlp, mapping, abbreviations=abbreviations),
        corpus=f"{file_fingerprint([corpus])} {read_as}",
        force=force,
    )
    for line in dataset.report.lines():
        say(line)
    made = builder.report.documents > 0
    say(f"Wrote {output}." if made else f"{output} is up to date: nothing was made again.")


def _prompt(name: str) -> Prompt:
    from spacy_bel.longbel.prompts import get_prompt

    try:
        return get_prompt(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--prompt") from error


def _targets(
    name: Literal["tfidf", "embedding", "levenshtein", "title"],
    kb: KnowledgeBase,
    encoder: str | None,
) -> TargetChooser:
    from spacy_bel.longbel.training.targets import make_targets

    if name != "embedding":
        return make_targets(name, kb)
    if encoder is None:
        raise typer.BadParameter("--target embedding needs one", param_hint="--encoder")
    from spacy_bel.retriever.encoder import Encoder

    return make_targets(name, kb, Encoder.from_pretrained(encoder))


def _room(
    model: str | None,
    prompt: Prompt,
    kb: KnowledgeBase,
    max_length: int | None,
    composites: bool,
) -> dict[str, Any]:
    """Tokenizer of a model, and the tokens that it leaves for a prompt; as the engine counts."""
    if model is None:
        if max_length is not None:
            raise typer.BadParameter("tokens are those of a --model", param_hint="--max-length")
        return {}
    from spacy_bel.errors import ModelError
    from spacy_bel.longbel.models.loading import resolve_model
    from spacy_bel.longbel.searching import SearchSettings
    from spacy_bel.longbel.tokenization import PromptTokenizer
    from spacy_bel.longbel.trie_store import open_name_trie

    read = resolve_model(model)
    tokenizer = PromptTokenizer(read.tokenizer, prompt)
    window = min(max_length or read.max_length, read.max_length)
    composites = composites and tokenizer.separator is not None
    budget = window - SearchSettings(composites=composites).longest(open_name_trie(kb, tokenizer))
    if budget < 1:
        raise ModelError(
            f"{window} tokens have no room for a prompt beside the longest name: use a model with "
            "a longer window, or drop the longest names."
        )
    return {"tokenizer": tokenizer, "budget": budget}
