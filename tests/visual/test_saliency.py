import re

import numpy as np
import pytest

from spacy_bel.longbel.saliency import Saliency
from spacy_bel.visual.saliency import (
    printable,
    saliency_ansi,
    saliency_html,
    saliency_spans,
    shade,
)

from .test_links import EVIL, Page

PROMPT = (
    "### Context\nA [fit].\n\n### Previous Normalizations\n[cold]{D} common cold\n\n"
    "### Prediction\n[fit]{D}"
)
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def explained(text=PROMPT, spans=None, scores=None, **changes):
    spans = spans or [(0, 0), *((i, i + 1) for i in range(len(text)))]
    scores = np.linspace(0, 1, len(spans)) if scores is None else np.asarray(scores)
    settings = {
        "tokens": np.arange(len(spans)),
        "strings": tuple(text[a:b] for a, b in spans),
        "offsets": np.asarray(spans, np.int64).reshape(-1, 2),
        "text": text,
        "scores": scores.astype(np.float32),
        "attributions": (2 * scores - 1).astype(np.float32),
        "method": "gradient",
        "log_probability": -1.5,
        "name": "Seizure",
        "code": "HP:1",
        "mention": "fit",
        **changes,
    }
    return Saliency(**settings)


@pytest.mark.parametrize(("score", "value"), [(0, 255), (1, 0), (0.5, 127), (2, 0), (-1, 255)])
def test_colours_go_from_white_to_red(score, value):
    assert shade(score) == value


def test_terminal_shows_the_prompt_in_colours():
    text = saliency_ansi(explained("ab c", [(0, 1), (1, 2), (3, 4)], [0, 1, 0.5]))
    ink = "\x1b[38;2;17;17;17m"
    assert text == (
        f"{ink}\x1b[48;2;255;255;255ma\x1b[0m{ink}\x1b[48;2;255;0;0mb\x1b[0m "
        f"{ink}\x1b[48;2;255;127;127mc\x1b[0m → Seizure (HP:1)"
    )
    full = saliency_ansi(explained())
    assert COLOURS.sub("", full) == f"{PROMPT} → Seizure (HP:1)"
    assert all(not COLOURS.search(line) or line.endswith("m") or "→" in line
               for line in full.split("\n"))  # fmt: skip


def test_colours_end_with_their_line():
    text = saliency_ansi(explained("a\n\nb", [(0, 4)], [1]))
    for line in text.split("\n"):
        assert line.count("\x1b[48") == line.count("\x1b[0m")


def test_documents_cannot_steer_the_terminal():
    evil = "\x1b]0;title\x07\x9b31m\r\x00 fine\ttoo"
    text = saliency_ansi(explained(evil, name=evil, code="\x1b[2J"))
    assert not re.search(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]", text)
    assert len(re.findall("\x1b", text)) == len(COLOURS.findall(text))
    assert printable("é\t\n東") == "é\t\n東"


def test_page_shows_every_mention():
    html = saliency_html([explained(), explained(mention="fits", code="", name="Fit")], top=3)
    page = Page(html)
    text = "".join(page.text)
    assert text.count(PROMPT) == 2
    assert "fit → Seizure (HP:1)" in text
    assert "fits → Fit" in text
    assert f"{PROMPT} → Seizure (HP:1)" in text
    assert "log-probability -1.500" in text
    assert html.count("rgb(255,255,255)") >= 1
    assert html.count("rgb(255,0,0)") == 1 + 2  # the legend, and the last token of each
    first = page.rows[: len(page.rows) // 2]
    assert first[0] == ["Part", "Text", "Tokens", "Highest score", "Share of all scores"]
    kinds = [(row[0], row[1]) for row in first[1:]]
    assert kinds == [
        ("Section", "Context"),
        ("Section", "Previous Normalizations"),
        ("Section", "Prediction"),
        ("Earlier link", "[cold]{D} common cold"),
        ("Word", "}"),
        ("Word", "D"),
        ("Word", "{"),
    ]
    shares = [float(row[4].rstrip("%")) for row in first[1:4]]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_scores_are_hints_and_attributions_too():
    plain = saliency_spans(explained("ab", [(0, 1), (1, 2)], [0.25, 1]))
    assert 'title="score 0.250">a</span>' in plain
    assert "attribution" not in plain
    signed = explained(
        "ab", [(0, 1), (1, 2)], [0.25, 1], method="integrated_gradients", convergence_delta=0.01
    )
    assert 'title="score 0.250, attribution -0.500">a</span>' in saliency_spans(signed)
    page = Page(saliency_html(signed))
    assert page.rows[0][-1] == "Attribution"
    assert page.rows[1][-1] == "+0.500"
    assert "convergence delta 0.01" in "".join(page.text)


def test_pieces_of_a_character_are_shown_once():
    one = explained("aéb", [(0, 1), (1, 2), (1, 2), (2, 3)], [0, 0.2, 0.6, 1])
    assert COLOURS.sub("", saliency_ansi(one)) == "aéb → Seizure (HP:1)"
    assert 'title="score 0.600">é</span>' in saliency_spans(one)


def test_nothing_from_a_document_becomes_markup():
    text = f"### Context\n{EVIL}\n\n### Previous Normalizations\n[{EVIL}]{{x}} {EVIL}\n\n" \
        f"### Prediction\n[{EVIL}]{{&amp;}}"  # fmt: skip
    whole = explained(text, [(0, len(text))], [1], name=EVIL, code=EVIL, mention=EVIL)
    for each in (whole, explained(text, name=EVIL, code=EVIL, mention=EVIL)):
        html = saliency_html(each, title=EVIL)
        page = Page(html)
        assert not {"script", "img"} & set(page.tags)
        assert "".join(page.text).count(EVIL) >= 7
        assert "&amp;amp;" in html or "&amp;</span>" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")


def test_no_mention_and_no_score():
    assert "There is no mention to explain" in "".join(Page(saliency_html([])).text)
    page = Page(saliency_html(explained(scores=np.zeros(len(PROMPT) + 1))))
    assert [row[0] for row in page.rows[1:]] == ["Section"] * 3 + ["Earlier link"]
