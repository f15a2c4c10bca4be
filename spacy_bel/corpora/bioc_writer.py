"""Writing BioC XML, document by document."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import IO, Any
from xml.etree.ElementTree import Element, SubElement, tostring

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.bioc import APART, CODE_INFONS, JSON
from spacy_bel.corpora.document import Annotation, CorpusDocument, code_string
from spacy_bel.corpora.pubtator import parse_codes
from spacy_bel.corpora.standoff import tile, typed_passages

logger = logging.getLogger(__name__)

# What XML 1.0 cannot hold, whichever way it is written.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
RESERVED = {
    *CODE_INFONS, "type", "code", "codes", "concept_id", "concept_name", "concept_score",
    "all_links", "relations", "marked_passages", "passage_infons", "unlocated",
}  # fmt: skip
DATE = "19700101"  # the element is obligatory; a date of today would make every file another


def write_bioc(documents: Iterable[CorpusDocument], stream: IO[str]) -> None:
    """Write a BioC collection.

    Gold codes go to the infon "identifier" (parts joined by ``+``), ranked links to "all_links" as
    ``code=score|code=score``, their first to "concept_id", "concept_name" and "concept_score".
    What has no place in BioC goes to infons whose keys begin with ``json:``. Characters that XML
    cannot hold are replaced one by one, so that offsets stay right, and a warning says so.
    """
    stream.write("<?xml version='1.0' encoding='UTF-8'?>\n")
    stream.write("<!DOCTYPE collection SYSTEM 'BioC.dtd'>\n<collection>")
    stream.write(f"<source>spacy-bel</source><date>{DATE}</date><key>spacy-bel.key</key>\n")
    for document in documents:
        content = tostring(_document(document), encoding="unicode")
        # Parsers turn bare carriage returns into line feeds.
        stream.write(content.replace("\r", "&#13;") + "\n")
        stream.flush()
    stream.write("</collection>\n")


def _document(document: CorpusDocument) -> Element:
    element = Element("document")
    _text(element, "id", document.id)
    meta = dict(document.meta)
    relations = meta.pop("relations", [])
    native = [r for r in relations if isinstance(r, dict) and set(r) == {"id", "infons", "nodes"}]
    infons = meta.pop("passage_infons", [])
    unlocated = meta.pop("unlocated", [])
    other = [relation for relation in relations if relation not in native]
    if other:
        _infon(element, f"{JSON}relations", _json(other))
    passages = typed_passages(document)
    if not tile(document):
        _infon(element, f"{JSON}marked_passages", _json(passages))
        passages = [(0, len(document.text), "")]
        if infons:
            meta["passage_infons"], infons = infons, []
    _add_infons(element, meta)
    places = [_passage(element, document, passage) for passage in passages]
    for place, one, (_, _, type) in zip(places, infons, passages, strict=False):
        _add_plain(place, {k: v for k, v in one.items() if k != "type" or v != type})
    for number, annotation in enumerate(document.annotations):
        holders = [i for i, (a, b, _) in enumerate(passages) if a <= annotation.start < b]
        _annotation(places[holders[0] if holders else 0], annotation, number)
    for entry in unlocated:
        stray = SubElement(places[0], "annotation", id=_clean(str(entry.get("id", ""))))
        _add_plain(stray, {k: v for k, v in entry.items() if k not in ("id", "text")})
        _text(stray, "text", str(entry.get("text", "")))
    for relation in native:
        node = SubElement(element, "relation", id=_clean(str(relation["id"])))
        _add_plain(node, relation["infons"])
        for attributes in relation["nodes"]:
            SubElement(node, "node", {key: _clean(str(v)) for key, v in attributes.items()})
    return element


def _passage(parent: Element, document: CorpusDocument, passage: tuple[int, int, str]) -> Element:
    start, end, type = passage
    element = SubElement(parent, "passage")
    if type:
        _infon(element, "type", type)
    _text(element, "offset", str(start))
    _text(element, "text", document.text[start:end])
    return element


def _annotation(parent: Element, annotation: Annotation, number: int) -> None:
    element = SubElement(parent, "annotation", id=_clean(annotation.id or f"M{number}"))
    if annotation.type:
        _infon(element, "type", annotation.type)
    if annotation.codes:
        identifier = code_string(annotation.codes)
        _infon(element, "identifier", identifier)
        if parse_codes(identifier) != annotation.codes:
            _infon(element, f"{JSON}codes", _json(annotation.codes))
    if annotation.links:
        _add_links(element, annotation.links)
    _add_infons(element, annotation.meta)
    for start, end in annotation.fragments or [(annotation.start, annotation.end)]:
        SubElement(element, "location", offset=str(start), length=str(end - start))
    _text(element, "text", annotation.text)


def _add_links(element: Element, links: list[Candidate]) -> None:
    best = links[0]
    _infon(element, "concept_id", best.code)
    _infon(element, "concept_name", best.name)
    _infon(element, "concept_score", f"{best.score:.6g}")
    ranked = (f"{c.code.replace('%', '%25').replace('|', '%7C')}={c.score:.6g}" for c in links)
    _infon(element, "all_links", "|".join(ranked))


def _add_infons(element: Element, values: dict[str, Any]) -> None:
    taken = {key: v for key, v in values.items() if key in RESERVED or key.startswith(JSON)}
    for key, value in values.items():
        if key not in taken:
            plain = isinstance(value, str)
            _infon(element, key if plain else JSON + key, value if plain else _json(value))
    if taken:
        _infon(element, JSON + APART, _json(taken))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _add_plain(element: Element, values: dict[str, str]) -> None:
    for key, value in values.items():
        _infon(element, key, str(value))


def _infon(element: Element, key: str, value: str) -> None:
    # BioC wants infons first.
    position = len(element.findall("infon")) + len(element.findall("id"))
    infon = Element("infon", key=_clean(key))
    infon.text = _clean(value)
    element.insert(position, infon)


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = _clean(text)


def _clean(text: str) -> str:
    clean, replaced = FORBIDDEN.subn("\ufffd", text)
    if replaced:
        logger.warning("%d characters that XML cannot hold were replaced by U+FFFD.", replaced)
    return clean
