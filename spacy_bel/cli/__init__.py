"""`python -m spacy bel …`: what the package does, from the command line.

spaCy finds this module through the entry point group "spacy_cli" with each of its own commands, so
the commands import what they need when they run.
"""

from __future__ import annotations

import typer
from spacy.cli._util import app

from spacy_bel.cli.demo import demo
from spacy_bel.cli.kb import build, info, search
from spacy_bel.cli.link import link

bel = typer.Typer(
    name="bel",
    help="Biomedical entity linking: ranked concept codes from your own terminology.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
kb = typer.Typer(
    name="kb",
    help="Build, inspect and search knowledge bases.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
bel.command("demo")(demo)
bel.command("link", no_args_is_help=True)(link)
kb.command("build", no_args_is_help=True)(build)
kb.command("info", no_args_is_help=True)(info)
kb.command("search", no_args_is_help=True)(search)
bel.add_typer(kb)
app.add_typer(bel)
