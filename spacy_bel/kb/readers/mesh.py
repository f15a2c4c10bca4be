"""MeSH in XML: descriptors (``desc….xml``) and supplementary records (``supp….xml``).

Layout: https://www.nlm.nih.gov/mesh/xml_data_elements.html. Both files can be given together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries, Entry
from spacy_bel.kb.readers.lines import open_source
from spacy_bel.kb.readers.mesh_categories import (
    RECORD_CLASSES,
    UNCLASSED,
    categories,
    parent_number,
)
from spacy_bel.safe_xml import iter_elements

_TAGS = ("DescriptorRecord", "SupplementalRecord")
_YEAR = re.compile(r"(?:desc|supp)(\d{4})")
_CAS = re.compile(r"\d{2,7}-\d{2}-\d")
_UNII = re.compile(r"[A-Z0-9]{10}")


def read_mesh(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    supplement: str | Path | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read MeSH descriptors or supplementary records, or both.

    The preferred name is the record's name, then come the preferred terms of its concepts, other
    terms and permuted terms. Groups are the categories of the tree (mental disorders are diseases,
    too), of supplementary records by their class. ``MESH:D…`` resolves as ``D…`` does.
    ``builder.entries`` counts terms.

    supplement: the other file.
    """
    path = Path(path)
    year = _YEAR.search(path.name)
    builder = KnowledgeBaseBuilder(
        name or "MeSH",
        source=path.name,
        release=release or (year[1] if year else ""),
        licence="U.S. National Library of Medicine, public data",
    )
    intake = Intake(builder, path, on_error)
    entries = Entries()
    holders: dict[str, str] = {}  # descriptor by tree number
    places: dict[str, list[str]] = {}
    for file in (path, Path(supplement)) if supplement else (path,):
        record_intake = Intake(builder, file, on_error)
        with open_source(file, progress=progress) as source:
            for line, record in iter_elements(source, str(file), _TAGS):
                descriptor = record.tag == _TAGS[0]
                kind = "Descriptor" if descriptor else "SupplementalRecord"
                code = _text(record, f"{kind}UI")
                if not code or code in entries:
                    record_intake.damaged(
                        line,
                        f"the record has {'the code of another' if code else 'no UI'}; mend it.",
                    )
                    continue
                entry = entries.at(code, line)
                entry.names.append((0, _text(record, f"{kind}Name/String")))
                entry.alternatives.append(f"MESH:{code}")
                _concepts(record, entry, builder)
                if descriptor:
                    places[code] = [
                        _text(number) for number in record.iterfind("TreeNumberList/TreeNumber")
                    ]
                    holders.update(dict.fromkeys(places[code], code))
                else:
                    entry.groups.append(RECORD_CLASSES.get(record.get("SCRClass", ""), UNCLASSED))
                    entry.definition = entry.definition or _text(record, "Note")
                    entry.parents.extend(_headings(record))
    for code, numbers in places.items():
        entries[code].groups = categories(numbers)
        above = (holders.get(parent_number(number)) for number in numbers)
        entries[code].parents = [parent for parent in above if parent]
    entries.add_to(intake, group=group, fallback=UNCLASSED)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like MeSH in XML."""
    return first_line.startswith("<?xml") and _YEAR.match(path.name) is not None


def _concepts(record: Element, entry: Entry, builder: KnowledgeBaseBuilder) -> None:
    """Terms, scope note and registry numbers of a record's concepts."""
    for concept in record.iterfind("ConceptList/Concept"):
        preferred = concept.get("PreferredConceptYN") == "Y"
        if preferred:
            entry.definition = _text(concept, "ScopeNote")
        for number in concept.iterfind(".//RegistryNumber"):
            entry.cross_references.extend(_reference(_text(number)))
        for term in concept.iterfind("TermList/Term"):
            builder.entries += 1
            best = term.get("ConceptPreferredTermYN") == "Y"
            permuted = term.get("IsPermutedTermYN") == "Y"
            rank = 3 if permuted else 1 if best else 2
            entry.names.append((rank, _text(term, "String")))


def _headings(record: Element) -> Iterator[str]:
    path = "HeadingMappedToList/HeadingMappedTo/DescriptorReferredTo/DescriptorUI"
    for heading in record.iterfind(path):
        yield _text(heading).lstrip("*")  # a star marks the main topic


def _reference(number: str) -> tuple[str, ...]:
    if _CAS.fullmatch(number):
        return (f"CAS:{number}",)
    if number.startswith("EC "):
        return (f"EC:{number[3:]}",)
    return (f"UNII:{number}",) if _UNII.fullmatch(number) else ()


def _text(element: Element, path: str | None = None) -> str:
    found = element if path is None else element.find(path)
    return (found.text or "").strip() if found is not None else ""
