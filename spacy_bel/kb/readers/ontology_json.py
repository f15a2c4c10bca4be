"""The ontology files of entitytools (Sanz-Cruzado & Lever 2025, doi 10.18653/v1/2025.bionlp-1.13).

One JSON list, gzipped, of objects with ``id``, ``name``, ``aliases``, ``definitions`` and, for
UMLS, ``semantic_types`` and ``broader_concepts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.json_stream import list_items

_DEFAULT_GROUP = "Concept"


def read_ontology_json(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read an ontology file; its order does not matter here.

    Groups are the semantic types, "Concept" without. Broader concepts are given by name: those that
    one concept alone is called become parents. ``broader_ids``, ``alt_ids`` and ``obsolete`` are
    understood, too; obsolete objects are retired codes.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or path.name.split(".")[0], source=path.name, release=release or ""
    )
    intake = Intake(builder, path, on_error)
    holders = _holders(path)
    for line, item in list_items(path, progress=progress):
        builder.entries += 1
        try:
            concept, obsolete = _concept(item, group, holders)
        except (TypeError, KnowledgeBaseError) as error:
            intake.damaged(line, error)
            continue
        if obsolete:
            builder.retire(concept.code)
        else:
            intake.add(concept, line)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file is a JSON list of objects."""
    return first_line.startswith("[{") or (first_line == "[" and ".json" in path.suffixes)


def _holders(path: Path) -> dict[str, str]:
    """The code that a preferred name means; empty if several have it."""
    holders: dict[str, str] = {}
    for _, item in list_items(path):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            name, code = item["name"], str(item.get("id", ""))
            holders[name] = "" if holders.get(name, code) != code else code
    return holders


def _concept(item: Any, group: str | None, holders: Mapping[str, str]) -> tuple[Concept, bool]:
    if not isinstance(item, dict):
        raise TypeError("an item is no object; make it one.")
    code, name = item.get("id"), item.get("name")
    if not isinstance(code, str) or not isinstance(name, str):
        raise TypeError("an object has no id or no name; give it both.")
    broader = (holders.get(above, "") for above in _texts(item, "broader_concepts"))
    concept = Concept(
        code=code,
        names=(name, *_texts(item, "aliases")),
        groups=(group,) if group else tuple(_texts(item, "semantic_types")) or (_DEFAULT_GROUP,),
        definition=_definition(item),
        parents=(*_texts(item, "broader_ids"), *(above for above in broader if above)),
        alternative_codes=tuple(_texts(item, "alt_ids")),
    )
    return concept, item.get("obsolete") is True


def _texts(item: Mapping[str, Any], key: str) -> list[str]:
    found = item.get(key) or []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise TypeError(f"the {key} of {str(item.get('id'))[:40]!r} are no list of texts; mend it.")
    return found


def _definition(item: Mapping[str, Any]) -> str:
    """The definition, or the first of several (source, text) pairs."""
    found = item.get("definition") or item.get("definitions") or ""
    while isinstance(found, list) and found:
        found = found[-1] if all(isinstance(part, str) for part in found) else found[0]
    return found if isinstance(found, str) else ""
