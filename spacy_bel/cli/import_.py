"""`bel import longbel`: a released checkpoint becomes a pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say

if TYPE_CHECKING:
    from spacy_bel.longbel.component import LongBELLinker

_SHOWN = 5


@reports_errors
def import_longbel(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of a LongBEL or SynCABEL checkpoint.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    name: Annotated[str | None, typer.Option(help="What to call the pipeline.")] = None,
    lang: Annotated[
        str | None,
        typer.Option(help="Language of the texts: en, fr, …; else the model card's."),
    ] = None,
    kb: Annotated[
        Path | None,
        typer.Option(help="Knowledge base to use instead of the names that come with the model."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt format; else the one the model was trained on.")
    ] = None,
    spans_key: Annotated[
        str | None, typer.Option(help="Link a span group, for nested mentions; else entities.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Documents in flight.")] = 16,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the directory.")] = False,
) -> None:
    """Assemble a spaCy pipeline from a released LongBEL or SynCABEL checkpoint.

    The checkpoint is a directory with config.json, safetensors weights, tokenizer files and
    text_to_code.json. Python code and pickled files in it are neither run nor opened. The pipeline
    holds copies of all it needs, and links mentions that are in the document: labels are the
    semantic groups of the checkpoint. To find mentions, put a component before it.

    \b
    Examples:
      hf download OWNER/MODEL --exclude "*.pkl" "*.py" --local-dir checkpoint
      python -m spacy bel import longbel checkpoint -o pipeline
      python -m spacy bel import longbel checkpoint -o pipeline --spans-key sc --lang fr
    """
    import spacy

    from spacy_bel.cli.output import check_free
    from spacy_bel.errors import ModelError
    from spacy_bel.kb.atomic import new_directory
    from spacy_bel.longbel.models.checkpoint import (
        TABLE,
        is_released_checkpoint,
        released_language,
        released_name,
        released_prompt,
    )

    check_free(output, force)
    if force and output.exists() and not (output / "config.cfg").is_file():
        raise ModelError(f"'{output}' is no pipeline, it is not replaced: choose another path.")
    if not is_released_checkpoint(checkpoint):
        raise ModelError(
            f"'{checkpoint}' is no released LongBEL or SynCABEL checkpoint: it needs config.json "
            f"and {TABLE}. Any other causal language model is used with a knowledge base of yours: "
            "nlp.add_pipe('longbel_linker', config={'model': …, 'kb': …})."
        )
    language = lang or released_language(checkpoint)
    if language is None:
        say(
            "The model card names no single language; give one with --lang.",
            "yellow",
        )
    try:
        nlp = spacy.blank(language or "xx")
    except ImportError as error:
        raise ModelError(f"spaCy has no language '{language}': choose another --lang.") from error
    prompt = prompt or released_prompt(checkpoint, language)
    settings = {"prompt": prompt, "spans_key": spans_key, "batch_size": batch_size}
    # Model and names are given to the component, not named in its config, which would otherwise
    # keep the paths of this machine.
    linker: Any = nlp.add_pipe("longbel_linker", config={**settings, "compat": "longbel"})
    linker.set_model(checkpoint)
    linker.set_kb(kb)
    title = name or released_name(checkpoint)
    nlp.meta["name"] = re.sub(r"\W+", "_", title).strip("_").lower() or "longbel"
    _tell(linker)
    with new_directory(output.absolute(), force=force) as directory:
        nlp.to_disk(directory)
    say(f"Wrote the pipeline '{nlp.meta['lang']}_{nlp.meta['name']}' to {output}.")


def _tell(linker: LongBELLinker) -> None:
    """Open everything, so that what cannot be used shows, and say what there is."""
    from spacy_bel.longbel.name_check import altered_names

    kb, engine = linker.kb, linker.single_engine("bel import")
    say(f"{len(kb):,} codes with {kb.n_names:,} names in {len(kb.groups)} semantic groups:")
    for group, count in kb.meta.groups.items():
        say(f"  {group}: {count:,} codes")
    say(
        f"Prompt {linker.prompt.name}, {engine.budget:,} tokens of it at most; vocabulary "
        f"{linker.language_model.vocab_size:,}; composite mentions: "
        f"{'no' if engine.tokenizer.separator is None else 'yes'}."
    )
    altered = altered_names(_progress(kb.names(), kb.n_names), engine.tokenizer)
    shown = list(islice(altered, _SHOWN))
    if not shown:
        say("All names survive tokenization.")
        return
    count = len(shown) + sum(1 for _ in altered)
    say(f"{count:,} names read otherwise once they are tokenized:", "yellow")
    for name, written in shown:
        say(f"  {name!r} as {written!r}")
    if count > len(shown):
        say(f"  … and {count - len(shown):,} more.")


def _progress(names: Iterable[str], total: int) -> Iterable[str]:
    from tqdm import tqdm

    return tqdm(names, "Checking names", total, unit="name", disable=None)
