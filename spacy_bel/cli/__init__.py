"""`python -m spacy bel …`: what the package does, from the command line.

spaCy finds this module through the entry point group "spacy_cli" with each of its own commands, so
the commands import what they need when they run.
"""

from __future__ import annotations

import typer
from spacy.cli._util import app

from spacy_bel.cli.calibrate import calibrate
from spacy_bel.cli.candidates import candidates
from spacy_bel.cli.corpus import check, convert
from spacy_bel.cli.corpus import info as corpus_info
from spacy_bel.cli.demo import demo
from spacy_bel.cli.evaluate import evaluate
from spacy_bel.cli.evaluate_retriever import evaluate_retriever
from spacy_bel.cli.examples import examples
from spacy_bel.cli.explain import explain
from spacy_bel.cli.import_ import import_longbel
from spacy_bel.cli.kb import info, search
from spacy_bel.cli.kb_add_mentions import add_mentions
from spacy_bel.cli.kb_build import build
from spacy_bel.cli.kb_merge import merge
from spacy_bel.cli.link import link
from spacy_bel.cli.memory import memory
from spacy_bel.cli.synthesize import synthesize
from spacy_bel.cli.train import train_retriever
from spacy_bel.cli.tune import tune_ngrams

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
train = typer.Typer(
    name="train",
    help="Train models that find or rank concepts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
tune = typer.Typer(
    name="tune",
    help="Choose options on a development corpus.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
imports = typer.Typer(
    name="import",
    help="Make pipelines from what others have published.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
# Values of a config, such as --training.epochs 3, are no options of the command.
_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
bel.command("demo")(demo)
bel.command("link", no_args_is_help=True)(link)
bel.command("evaluate", no_args_is_help=True)(evaluate)
bel.command("evaluate-retriever", no_args_is_help=True)(evaluate_retriever)
bel.command("candidates", no_args_is_help=True)(candidates)
bel.command("memory", no_args_is_help=True, context_settings=_OVERRIDES)(memory)
bel.command("examples", no_args_is_help=True)(examples)
bel.command("calibrate", no_args_is_help=True)(calibrate)
bel.command("explain", no_args_is_help=True)(explain)
bel.command("synthesize", no_args_is_help=True)(synthesize)
kb.command("build", no_args_is_help=True)(build)
kb.command("info", no_args_is_help=True)(info)
kb.command("merge", no_args_is_help=True)(merge)
kb.command("add-mentions", no_args_is_help=True)(add_mentions)
kb.command("search", no_args_is_help=True)(search)
corpus.command("convert", no_args_is_help=True)(convert)
corpus.command("info", no_args_is_help=True)(corpus_info)
corpus.command("check", no_args_is_help=True)(check)
train.command("retriever", no_args_is_help=True, context_settings=_OVERRIDES)(train_retriever)
tune.command("ngrams", no_args_is_help=True)(tune_ngrams)
imports.command("longbel", no_args_is_help=True)(import_longbel)
bel.add_typer(kb)
bel.add_typer(corpus)
bel.add_typer(train)
bel.add_typer(tune)
bel.add_typer(imports)
app.add_typer(bel)
