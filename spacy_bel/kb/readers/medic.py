"""MEDIC, the disease terminology of the Comparative Toxicogenomics Database, as ``|`` columns.

One concept per line: ``id|alternative id…||preferred name|synonym…``, the layout of the release
that accompanies the NCBI Disease corpus (Davis et al. 2012, doi 10.1093/database/bar065).
"""

from __future__ import annotations

import re
from pathlib import Path

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import OnError, report_damage
from spacy_bel.kb.readers.lines import read_lines

_FIRST_LINE = re.compile(r"(?:\d{6}|[CD]\d*)(?:\|[^|\s]+)*\|\|[^|]")


def read_medic(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read MEDIC in one semantic group, "Disease" unless ``group`` names another.

    Codes are kept as in the file; ``MESH:D…`` and ``OMIM:…`` forms of the main and alternative
    ids resolve too, as corpora write them.

    on_error: raise ReadError at the first line that cannot be read, or skip and count such lines.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or "MEDIC",
        source=path.name,
        release=release or "",
        licence="Comparative Toxicogenomics Database, terms of use",
    )
    for number, line in read_lines(path, progress=progress):
        if not line.strip():
            continue
        ids, separator, names = line.partition("||")
        code, *others = ids.split("|")
        builder.entries += 1
        try:
            if not separator:
                raise KnowledgeBaseError("the line has no '||' between ids and names; mend it.")
            prefixed = [_prefixed(other) for other in (code, *others)]
            builder.add(
                Concept(
                    code=code,
                    names=tuple(names.split("|")),
                    groups=(group or "Disease",),
                    cross_references=tuple(prefixed),
                    alternative_codes=(*others, *prefixed),
                )
            )
        except KnowledgeBaseError as error:
            report_damage(builder, path, number, error, on_error)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like MEDIC."""
    return _FIRST_LINE.match(first_line) is not None


def _prefixed(code: str) -> str:
    # OMIM numbers are bare digits, MeSH ids start with a letter.
    return f"OMIM:{code}" if code.isdigit() else f"MESH:{code}"
