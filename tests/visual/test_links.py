from html.parser import HTMLParser

import pytest
import spacy
from spacy.tokens import Span

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.visual import LinksPage, links_html

NLP = spacy.blank("en")
EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that is closed out of order."""

    VOID = {"meta", "br", "img"}

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text, self.open = [], [], [], []
        self.rows, self.titles = [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])
            self.titles.append(dict(attrs).get("title"))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def linked(text, start, end, label, *candidates, **user_data):
    doc = NLP.make_doc(text)
    doc.user_data.update(user_data)
    code = candidates[0].code if candidates else "NIL"
    doc.ents = [Span(doc, start, end, label=label, kb_id=code)]
    set_candidates(doc.ents[0], candidates)
    return doc


SEIZURE = Candidate("HP:0001250", "Seizure", 0.91)
FEBRILE = Candidate("HP:0002373", "Febrile seizure", 0.5)


def test_page_shows_mentions_links_and_candidates():
    doc = linked("One fit at night.", 1, 2, "Phenotype", SEIZURE, FEBRILE, document_id="note 3")
    page = Page(links_html(doc))
    assert page.links == [
        "https://hpo.jax.org/browse/term/HP:0001250",
        "https://hpo.jax.org/browse/term/HP:0001250",
        "https://hpo.jax.org/browse/term/HP:0002373",
    ]
    assert page.rows == [
        ["Mention", "Group", "Rank", "Code", "Name", "Score"],
        ["fit", "Phenotype", "1", "HP:0001250", "Seizure", "0.9100"],
        ["2", "HP:0002373", "Febrile seizure", "0.5000"],
    ]
    assert "note 3" in page.text


def test_nothing_from_documents_or_terminologies_becomes_markup():
    doc = linked(
        f"A {EVIL} fit {EVIL}",
        1,
        4,
        EVIL,
        Candidate(EVIL, EVIL, 1.0),
        title=EVIL,
    )
    builder = KnowledgeBaseBuilder("evil")
    builder.add(Concept(EVIL, (EVIL,), (EVIL,), definition=EVIL))
    for template in (None, "https://example.org/?q={code}&x=1"):
        html = links_html(doc, kb=builder.build(), url_template=template, title=EVIL)
        page = Page(html)
        assert "script" not in page.tags
        assert "img" not in page.tags
        assert all(link.startswith("https://example.org/?q=%3Cscript") for link in page.links)
        assert "".join(page.text).count(EVIL) >= 6
    assert page.titles[0] == f"{EVIL}: {EVIL}"


@pytest.mark.parametrize(
    "template",
    [
        "javascript:alert('{code}')",
        "data:text/html,{code}",
        "//host/{code}",
        "https:///{code}",
        "https://host/term",
        "{code}",
        "",
    ],
)
def test_only_web_addresses_become_links(template):
    with pytest.raises(ValueError, match="http"):
        links_html([], url_template=template)


def test_template_braces_and_odd_codes_cannot_leave_the_address():
    page = LinksPage(url_template="https://example.org/{code}/{other}")
    assert page.url('a"b/../c?d#e') == "https://example.org/a%22b%2F..%2Fc%3Fd%23e/{other}"
    assert page.url("NIL") is None


def test_codes_of_other_terminologies_are_text_without_a_template():
    page = Page(links_html(linked("One fit", 1, 2, "D", Candidate("D012640", "Seizures", 1.0))))
    assert page.links == []
    assert ["fit", "D", "1", "D012640", "Seizures", "1.0000"] in page.rows


def test_unlinked_mentions_and_documents_without_mentions():
    page = Page(links_html([linked("One fit", 1, 2, "D"), NLP.make_doc("Nothing here")]))
    text = "".join(page.text)
    assert ["fit", "D", "no candidate"] in page.rows
    assert "NIL" in text
    assert "No mention was found" in text
    assert "Document 2" in text


def test_top_limits_the_table():
    page = Page(links_html(linked("One fit", 1, 2, "D", SEIZURE, FEBRILE), top=1))
    assert len(page.rows) == 2


def test_pieces_make_the_same_page():
    docs = [linked("One fit", 1, 2, "D", SEIZURE), linked("Two fits", 1, 2, "D", FEBRILE)]
    page = LinksPage()
    assert page.header + "".join(map(page.section, docs)) + page.footer == links_html(docs)
