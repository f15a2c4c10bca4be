"""BioC XML: https://bioc.sourceforge.net. BC5CDR, NLM-Chem and the output of linkers come so.

Offsets are document-wide. Which infon holds the code differs between corpora, see `CODE_INFONS`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import CorpusDocument, any_of, code_string
from spacy_bel.corpora.files import Source, xml_elements
from spacy_bel.corpora.jsonlines import OnError, code_lists, report
from spacy_bel.corpora.pubtator import parse_codes
from spacy_bel.corpora.standoff import add_passage, as_offset, located
from spacy_bel.errors import ReadError

logger = logging.getLogger(__name__)

CODE_INFONS = ("identifier", "Identifier", "MESH", "MeSH", "OMIM", "UMLS", "CUI", "NCBI GENE")
"""Infons that hold gold codes. Those of one mention name the same concept."""
JSON = "json:"
"""Beginning of the keys of infons whose text is JSON: what has no place of its own in BioC."""


APART = "spacy_bel"
"""After `JSON`: key of what `write_bioc` would have written to an infon with a meaning."""


def read_bioc(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Stream the documents of a BioC collection (also ``.gz``).

    Each passage (or its sentences) becomes a passage of the type that its infon "type" or
    "section_type" says. A mention with several locations is discontinuous. Its codes come from the
    infons of `CODE_INFONS`, separated as in PubTator, or else from "concept_id"; where
    "all_links" gives ranked links, as ``code=score|code=score``, these become its `links` and
    "concept_id" is the first of them and no gold. All other infons are kept in `meta`, relations in
    ``meta["relations"]``, and annotations without a place in ``meta["unlocated"]``.

    on_error: called with the ReadError of a bad annotation or document, which is left out; without
        it it is raised. Errors name file and line.
    """
    for where, element in xml_elements(source, "collection", "document"):
        try:
            document = _parse_document(element, where, on_error)
        except ReadError as error:
            report(error, on_error)
            continue
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            report(f"{where}: an infon with JSON is not what its key promises ({error}).", on_error)
            continue
        yield document


def _parse_document(element: Element, where: str, on_error: OnError) -> CorpusDocument:
    document = CorpusDocument((element.findtext("id") or "").strip(), "")
    where = f"{where}, document {document.id}"
    document.meta = _decoded(_infons(element), where)
    infons, annotated = [], [(annotation, 0) for annotation in element.findall("annotation")]
    for passage in element.findall("passage"):
        infons.append(_infons(passage))
        shift = _add_text(document, passage, infons[-1], where)
        annotated += [(annotation, shift) for annotation in passage.iter("annotation")]
    if any(set(one) - {"type"} for one in infons):
        document.meta["passage_infons"] = infons
    if "marked_passages" in document.meta:
        marked = document.meta.pop("marked_passages")
        document.passages = [(int(a), int(b)) for a, b, _ in marked]
        document.passage_types = [str(type) for _, _, type in marked]
    for annotation, shift in annotated:
        try:
            _add_annotation(document, annotation, shift, where)
        except ReadError as error:
            report(error, on_error)
    relations = [_relation(relation) for relation in element.iter("relation")]
    if relations:
        document.meta.setdefault("relations", []).extend(relations)
    return document


def _add_text(
    document: CorpusDocument, passage: Element, infons: dict[str, str], where: str
) -> int:
    """Append a passage; gives how much its offsets are too small.

    A passage that would begin within the one before, as where a corpus counts each from 0, is put
    after it, with its annotations.
    """
    start = as_offset(passage.findtext("offset") or "", where)
    text = passage.findtext("text")
    type = infons.get("type") or infons.get("section_type") or ""
    if text is None and passage.findall("sentence"):
        whole = CorpusDocument(document.id, "")
        for sentence in passage.findall("sentence"):
            text = sentence.findtext("text") or ""
            offset = as_offset(sentence.findtext("offset") or "", where) - start
            add_passage(whole, text, offset, offset + len(text), "", where)
        text = whole.text
    text, shift = text or "", 0
    if document.passages and start < len(document.text):
        shift = len(document.text) + 1 - start
        logger.warning("%s: the passage at %d is moved to %d, behind the one before it.",
                       where, start, start + shift)  # fmt: skip
    add_passage(document, text, start + shift, start + shift + len(text), type, where)
    return shift


def _add_annotation(document: CorpusDocument, element: Element, shift: int, where: str) -> None:
    infons, identifier = _infons(element), element.get("id") or ""
    where = f"{where}, annotation {identifier}"
    text = element.findtext("text") or ""
    fragments = []
    for location in element.findall("location"):
        start = as_offset(location.get("offset", ""), where) + shift
        fragments.append((start, start + as_offset(location.get("length", ""), where)))
    if not fragments or not (text or any(start < end for start, end in fragments)):
        document.meta.setdefault("unlocated", []).append({**infons, "id": identifier, "text": text})
        return
    links = _links(infons, where)
    codes = _codes(infons, where)
    document.annotations.append(
        located(
            document, fragments, text, where,
            type=infons.pop("type", ""), codes=codes, id=identifier, links=links,
            meta=_decoded(infons, where),
        )
    )  # fmt: skip


def _links(infons: dict[str, str], where: str) -> list[Candidate]:
    if "all_links" not in infons:
        return []
    links = []
    for link in filter(None, infons.pop("all_links").split("|")):
        code, _, score = link.rpartition("=")
        try:
            # A code may hold the separator.
            links.append(Candidate(code.replace("%7C", "|").replace("%25", "%"), "", float(score)))
        except ValueError as error:
            raise ReadError(
                f"{where}: {link[:60]!r} of all_links is not 'code=score'; links are separated "
                "by '|'."
            ) from error
    best_name, best = infons.pop("concept_name", ""), infons.pop("concept_id", "")
    infons.pop("concept_score", None)
    if links and links[0].code == best:
        links[0] = links[0]._replace(name=best_name)
    return links


def _codes(infons: dict[str, str], where: str) -> list[list[str]]:
    written = [infons.pop(key) for key in CODE_INFONS if key in infons]
    if not written and "concept_id" in infons:
        written = [infons.pop("concept_id")]
    if f"{JSON}codes" in infons:
        try:
            return code_lists(_from_json(infons.pop(f"{JSON}codes"), where))
        except TypeError as error:
            raise ReadError(f"{where}: {error}.") from error
    codes = any_of([parse_codes(string) for string in written])
    if written and "|".join(written) != code_string(codes):
        infons["code"] = "|".join(written)
    return codes


def _relation(element: Element) -> dict[str, Any]:
    nodes = [dict(node.attrib) for node in element.findall("node")]
    return {"id": element.get("id") or "", "infons": _infons(element), "nodes": nodes}


def _infons(element: Element) -> dict[str, str]:
    return {infon.get("key") or "": infon.text or "" for infon in element.findall("infon")}


def _decoded(infons: dict[str, str], where: str) -> dict[str, Any]:
    decoded = {
        key.removeprefix(JSON): _from_json(text, where) if key.startswith(JSON) else text
        for key, text in infons.items()
    }
    apart = decoded.pop(APART, {})
    return {**decoded, **(apart if isinstance(apart, dict) else {APART: apart})}


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{where}: an infon is not the JSON that its key promises.") from error
