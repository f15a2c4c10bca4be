"""Linked documents as one HTML page: displaCy's mentions, clickable, with a candidate table.

displaCy escapes the text but neither labels nor links, so both are escaped here before they reach
it, and only http and https addresses become links.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

from spacy import displacy
from spacy.tokens import Doc, Span

from spacy_bel.candidates import get_candidates
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.visual.page import FOOTER, header

HPO_URL = "https://hpo.jax.org/browse/term/{code}"


class LinksPage:
    """The pieces of a page, for documents that do not fit in memory together.

    Write `header`, then `section(doc)` for each document, then `footer`. Arguments are those of
    `links_html`.
    """

    footer = FOOTER

    def __init__(
        self,
        *,
        url_template: str | None = None,
        kb: KnowledgeBase | None = None,
        top: int = 5,
        title: str = "Linked concepts",
        options: dict[str, Any] | None = None,
    ) -> None:
        if url_template is not None:
            check_url_template(url_template)
        self.url_template = url_template
        self.kb = kb
        self.top = top
        self.options = options or {}
        self.header = header(title)
        self._sections = 0

    def section(self, doc: Doc) -> str:
        """One document: its text with marked mentions, and its candidates."""
        self._sections += 1
        heading = doc.user_data.get("title") or doc.user_data.get("document_id")
        heading = str(heading or f"Document {self._sections}")
        mentions = [self._marked(mention) for mention in doc.ents]
        text = displacy.render(
            {"text": doc.text, "ents": mentions, "title": None},
            style="ent",
            manual=True,
            jupyter=False,
            options=self.options,
        )
        identifier = f"document-{self._sections}"
        return (
            f'<section aria-labelledby="{identifier}">\n<h2 id="{identifier}">{escape(heading)}'
            f"</h2>\n{text}\n{self._table(doc)}</section>\n"
        )

    def url(self, code: str) -> str | None:
        """Address of a concept, None if there is none to link to."""
        template = self.url_template
        if template is None and code.startswith("HP:"):
            template = HPO_URL
        if template is None or code in ("", "NIL"):
            return None
        return template.replace("{code}", quote(code, safe=":", errors="replace"))

    def _marked(self, mention: Span) -> dict[str, Any]:
        # displaCy puts `params` into its template as they are and picks the colour by `label`.
        label, code = escape(mention.label_), mention.kb_id_
        link = f' <span class="code">{self._link(code)}</span>' if code else ""
        return {
            "start": mention.start_char,
            "end": mention.end_char,
            "label": mention.label_,
            "params": {"label": label, "kb_link": link},
        }

    def _link(self, code: str) -> str:
        url = self.url(code)
        if url is None:
            return escape(code)
        hint = self._describe(code)
        return f'<a href="{escape(url)}"{hint}>{escape(code)}</a>'

    def _describe(self, code: str) -> str:
        if self.kb is None or code not in self.kb:
            return ""
        concept = self.kb[code]
        text = ": ".join(filter(None, [concept.names[0], concept.definition]))
        return f' title="{escape(text)}"'

    def _table(self, doc: Doc) -> str:
        rows = "".join(self._rows(mention) for mention in doc.ents)
        if not rows:
            return "<p>No mention was found in this document.</p>\n"
        names = ("Mention", "Group", "Rank", "Code", "Name", "Score")
        columns = "".join(f'<th scope="col">{name}</th>' for name in names)
        return (
            '<div class="scroll"><table>\n<caption>Candidates, best first</caption>\n'
            f"<thead><tr>{columns}</tr></thead>\n{rows}</table></div>\n"
        )

    def _rows(self, mention: Span) -> str:
        candidates = get_candidates(mention)[: self.top]
        span = max(len(candidates), 1)
        first = (
            f'<th scope="rowgroup" rowspan="{span}">{escape(mention.text)}</th>'
            f'<td rowspan="{span}">{escape(mention.label_)}</td>'
        )
        cells = [
            f"<td>{rank}</td><td>{self._link(candidate.code)}</td>"
            f"<td>{escape(candidate.name)}</td><td>{candidate.score:.4f}</td>"
            for rank, candidate in enumerate(candidates, 1)
        ] or ['<td colspan="4">no candidate</td>']
        cells[0] = first + cells[0]
        return "<tbody>" + "".join(f"<tr>{row}</tr>\n" for row in cells) + "</tbody>\n"


def links_html(
    docs: Doc | Iterable[Doc],
    *,
    url_template: str | None = None,
    kb: KnowledgeBase | None = None,
    top: int = 5,
    title: str = "Linked concepts",
    options: dict[str, Any] | None = None,
) -> str:
    """A page that shows every document with its mentions and their candidates.

    docs: linked documents; their mentions are read from `doc.ents`. A document is headed by
        ``doc.user_data["title"]`` or ``doc.user_data["document_id"]``.
    url_template: address of a concept, with ``{code}`` in it; None links codes of the Human
        Phenotype Ontology and leaves others as text.
    kb: adds name and definition of a concept as a hint on its link.
    top: number of candidates in the table.
    options: displaCy's options for style "ent", such as ``{"colors": {"Disorders": "#fcd"}}``.

    Raises ValueError if the template is no http or https address with ``{code}``.
    """
    page = LinksPage(url_template=url_template, kb=kb, top=top, title=title, options=options)
    sections = [page.section(doc) for doc in ([docs] if isinstance(docs, Doc) else docs)]
    return page.header + "".join(sections) + page.footer


def check_url_template(template: str) -> None:
    """Raise ValueError unless a template is an http or https address that contains ``{code}``."""
    address = urlsplit(template)
    if address.scheme not in ("http", "https") or not address.netloc or "{code}" not in template:
        raise ValueError(
            f"{template!r} cannot link concepts: give an http or https address with {{code}} in "
            f"it, such as {HPO_URL}."
        )
