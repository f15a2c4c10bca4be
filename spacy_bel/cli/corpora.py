"""Several annotated corpora as one stream, for commands that train or evaluate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from spacy_bel.corpora.document import CorpusDocument


def read_corpora(
    paths: Iterable[str],
    format: str | None = None,
    labels: Collection[str] | None = None,
    what: str = "Reading",
) -> Iterator[CorpusDocument]:
    """Documents of files and directories, with a progress bar.

    format: of all of them; told from each if None. labels: only mentions with one of these labels.
    """
    from tqdm import tqdm

    from spacy_bel.corpora.reading import read_documents

    documents = (document for path in paths for document in read_documents(path, format))
    # disable=None: no bar where standard error is no terminal.
    for document in tqdm(documents, what, unit="doc", disable=None, leave=False):
        if labels:
            kept = [a for a in document.annotations if a.type in labels]
            document = replace(document, annotations=kept)
        yield document
