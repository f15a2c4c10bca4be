"""Knowtator XML beside articles, as CRAFT comes: https://github.com/UCDenver-ccp/CRAFT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.files import Source, xml_elements
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.corpora.standoff import as_offset, as_paths, located, text_beside
from spacy_bel.errors import ReadError

SUFFIX = ".knowtator.xml"


def read_knowtator(
    source: Source | Sequence[Path], *, on_error: OnError = None
) -> Iterator[CorpusDocument]:
    """Read the article of one ``.knowtator.xml``, or the articles of several.

    Articles are looked for beside a file and in folders of texts near it. Annotations of one
    article in several files (one for each ontology) come together. The type of a mention is the
    vocabulary of its class ("UBERON"); several classes are the parts of a composite; paragraphs are
    passages, so that long articles can be cut.

    on_error: called with the ReadError of a bad annotation or file, which are left out; without it
        it is raised.
    """
    files = as_paths(source)
    articles: dict[str, list[Path]] = {}
    for file in files:
        name = file.name.removesuffix(".gz").removesuffix(SUFFIX).removesuffix(".xml")
        articles.setdefault(name.removesuffix(".txt"), []).append(file)
    for identifier, parts in articles.items():
        document: CorpusDocument | None = None
        for file in parts:
            try:
                for where, root in xml_elements(file, "annotations", "annotations"):
                    document = document or _article(file, root, identifier)
                    _add_annotations(document, root, where, on_error)
            except ReadError as error:
                report(error, on_error)
        if document:
            yield document


def _article(file: Path, root: Element, identifier: str) -> CorpusDocument:
    text = text_beside(file, root.get("textSource") or f"{identifier}.txt")
    return CorpusDocument(identifier, text, paragraphs(text))


def paragraphs(text: str) -> list[tuple[int, int]]:
    """Offsets of what stands between line ends, empty lines left out; the last one reaches to the
    end of the text, so that texts can be put together again from their passages."""
    passages, start = [], 0
    for line in text.split("\n"):
        if line.strip():
            passages.append((start, start + len(line)))
        start += len(line) + 1
    return [*passages[:-1], *((a, len(text)) for a, _ in passages[-1:])]


def _add_annotations(
    document: CorpusDocument, root: Element, where: str, on_error: OnError
) -> None:
    classes = {
        mention.get("id", ""): [c.get("id", "") for c in mention.findall("mentionClass")]
        for mention in root.findall("classMention")
    }
    for number, annotation in enumerate(root.findall("annotation"), 1):
        place = f"{where}, annotation {number}"
        try:
            identifiers = [m.get("id", "") for m in annotation.findall("mention")]
            codes = [code for i in identifiers for code in classes.get(i, []) if code]
            fragments = [
                (as_offset(s.get("start", ""), place), as_offset(s.get("end", ""), place))
                for s in annotation.findall("span")
            ]
            # Fragments are joined by dots there.
            text = annotation.findtext("spannedText") or ""
            text = " ".join(text.split(" ... ")) if len(fragments) > 1 else text
            mention = located(
                document, fragments, text, place,
                type=codes[0].partition(":")[0] if codes and ":" in codes[0] else "",
                codes=[[code] for code in dict.fromkeys(codes)],
                id=" ".join(identifiers),
            )  # fmt: skip
        except ReadError as error:
            report(error, on_error)
            continue
        annotator = annotation.findtext("annotator")
        if annotator:
            mention.meta["annotator"] = annotator
        document.annotations.append(mention)
