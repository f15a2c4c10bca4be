"""`python -m spacy bel …`: what the package does, from the command line.

spaCy finds this module through the entry point group "spacy_cli" with each of its own commands, so
the commands import what they need when they run.
"""

from __future__ import annotations

import typer
from spacy.cli._util import app

from spacy_bel.cli.corpus import check, convert
from spacy_bel.cli.corpus import info as corpus_info
from spacy_bel.cli.demo import demo
from spacy_bel.cli.evaluate import evaluate
from spacy_bel.cli.kb import info, search
from spacy_bel.cli.kb_build import build
from spacy_bel.cli.kb_merge import merge
from spacy_bel.cli.link import link

bel = typer.Typer(
    name="bel",
    help="Biomedical entity linking: ranked concept codes from your own terminology.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
kb = typer.Typer(
    name="kb",
    help="Build, inspect, merge and search knowledge bases.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
corpus = typer.Typer(
    name="corpus",
    help="Convert, count and check annotated corpora.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
bel.command("demo")(demo)
bel.command("link", no_args_is_help=True)(link)
bel.command("evaluate", no_args_is_help=True)(evaluate)
kb.command("build", no_args_is_help=True)(build)
kb.command("info", no_args_is_help=True)(info)
kb.command("merge", no_args_is_help=True)(merge)
kb.command("search", no_args_is_help=True)(search)
corpus.command("convert", no_args_is_help=True)(convert)
corpus.command("info", no_args_is_help=True)(corpus_info)
corpus.command("check", no_args_is_help=True)(check)
bel.add_typer(kb)
bel.add_typer(corpus)
app.add_typer(bel)
