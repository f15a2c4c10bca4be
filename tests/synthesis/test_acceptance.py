"""Which lines are taken, and what for the others are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.errors import SettingsError
from spacy_bel.synthesis.acceptance import REASONS, Judge, Rules
from spacy_bel.synthesis.answers import Rejection, Sentence, read_answer, read_line
from spacy_bel.synthesis.base import Answer, Request
from spacy_bel.synthesis.languages import ENGLISH, FRENCH, LANGUAGES, SPANISH
from spacy_bel.synthesis.prompt import describe, instructions, worked_sentences

GOOD = "The doctors saw [gouty arthritis] in both feet of the old man."


def judged(kb, *lines, code="DIS:5", rules=None, shown=(), n=3, finish="stop"):
    """Accepted texts, and reasons of the others."""
    text = "\n".join(lines)
    judge = Judge(kb, ENGLISH, n, rules)
    verdict = judge.judge(kb[code], [Answer(text, finish=finish)], shown)
    return [s.text for s in verdict.accepted], [r.reason for r in verdict.rejected]


def reason(kb, sentence, **settings):
    accepted, reasons = judged(kb, f"example: {sentence}", **settings)
    assert len(accepted) + len(reasons) == 1 and set(reasons) <= set(REASONS)
    return reasons[0] if reasons else ""


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (GOOD, ""),
        ("The doctors saw gouty arthritis in both feet of the old man.", "no_brackets"),
        ("The [doctors] saw [gouty arthritis] in both feet of the man.", "several_mentions"),
        ("The doctors saw [gouty arthritis in both feet of the old man.", "unbalanced_brackets"),
        ("The doctors saw [gouty [arthritis]] in both feet of the man.", "unbalanced_brackets"),
        ("The doctors saw ]gouty arthritis[ in both feet of the man.", "unbalanced_brackets"),
        ("The doctors saw [ ] in both feet of the old man.", "empty_mention"),
        ("The doctors saw [gouty arthriti]s in both feet of the man.", "within_word"),
        ("The doctors saw [gouty].", "length"),
        ("The doctors saw [gouty arthritis] " + "and then something else " * 15, "length"),
        ("The doctors saw <b>[gouty arthritis]</b> in both of his feet.", "markup"),
        ("The doctors saw **[gouty arthritis]** in both of his feet.", "markup"),
        ("The doctors saw [gouty arthritis] see https://example.org today.", "markup"),
        ("The doctors saw [gouty arthritis] (DIS:5) in both of his feet.", "template_text"),
        ("Here is example: the doctors saw [gouty arthritis] in his feet.", "template_text"),
        ("The doctors saw [mention] in both feet of the old man.", "template_text"),
        ("The doctors saw [痛风 arthritis] in both feet of the old man.", "script"),
        ("The doctors saw [1-2-3 a] in both feet of the old man.", "gibberish_mention"),
        ("The doctors saw [gouty gouty] in both feet of the old man.", "gibberish_mention"),
        ("The doctors saw [gooooouty foot] in both feet of the man.", "gibberish_mention"),
        ("The doctors saw [g] in both feet of the old man.", "gibberish_mention"),
        ("The 12 34 56 [gouty foot] 78 90 12 34 56 78 90 12 34 56.", "gibberish_sentence"),
        ("Pain pain pain of the [gouty foot] was felt by him.", "gibberish_sentence"),
        ("so and so and so and so and [gouty foot] so and so.", "gibberish_sentence"),
        ("The doctors saw [GOUTY ARTHRITIS] in both feet of the man.", "capitals"),
        ("The doctors saw [arthritis, gouty] in both feet of the man.", "punctuation"),
        ("The doctors saw [arthritis (gouty)] in both feet of the man.", "punctuation"),
        ("With [gouty foot] he came, as with Gouty foot last year.", "mention_repeated"),
        ("The doctors saw [tetanus] in both feet of the old man.", "other_concept"),
        ("The doctors saw [Tetanus  DISEASE] in both feet of the man.", "other_concept"),
        # Of another group.
        ("The doctors gave [Gout remedy] for both feet of the old man.", ""),
        ("The doctors saw [gout] in both feet of the old man.", ""),
        # As words in other words, mentions are not there again.
        ("The goutiest [gout] was in the feet of this old man.", ""),
        ("L'homme avait de l'[arthrite goutteuse] à ses deux pieds.", ""),
        ("He had 5 μg of it for [β-gouty arthritis] in his feet.", ""),
    ],
)
def test_reasons(kb, sentence, expected):
    assert reason(kb, sentence) == expected


def test_names_of_the_concept_are_no_gibberish():
    from spacy_bel.kb import Concept, KnowledgeBaseBuilder

    builder = KnowledgeBaseBuilder("b", release="1", licence="CC0")
    builder.add(Concept("DIS:1", ("Thiamine deficiency", "Beri-beri", "HHHH syndrome"), ("G",)))
    kb = builder.build()
    own = "The sailors of the old ship fell ill with [beri-beri] again."
    assert reason(kb, own, code="DIS:1") == ""
    assert reason(kb, own.replace("beri-beri", "Hhhh syndrome"), code="DIS:1") == ""
    assert reason(kb, own.replace("again", "agaaaain"), code="DIS:1") == "gibberish_sentence"
    assert reason(kb, own.replace("beri-", "foot-foot-"), code="DIS:1") == "gibberish_mention"


def test_names_that_concepts_share(kb):
    sentence = "The old man had taken [poison] from a bottle in the barn."
    # A name of BOTH:1 (diseases and drugs) and of TOX:1 (drugs).
    assert reason(kb, sentence, code="BOTH:1") == "ambiguous_name"
    assert reason(kb, sentence, code="BOTH:1", rules=Rules(ambiguous=True)) == ""
    assert reason(kb, sentence, code="DRUG:1") == "other_concept"
    assert reason(kb, sentence, code="DIS:5") == "other_concept"  # as a disease it is BOTH:1


def test_rules_can_be_changed(kb):
    capitals = "The doctors saw [GOUT, ACUTE] in both feet of the old man."
    assert reason(kb, capitals, rules=Rules(plain_mentions=False)) == ""
    assert reason(kb, GOOD, rules=Rules(min_words=30)) == "length"
    cyrillic = "The doctors saw [gouty подагра] in both feet of the old man."
    assert reason(kb, cyrillic, rules=Rules(latin=False)) == ""
    with pytest.raises(SettingsError, match="words cannot be"):
        Rules(min_words=9, max_words=8)


def test_duplicates_copies_and_what_is_too_much(kb):
    other = GOOD.replace("old", "young")
    lines = [f"example: {line}" for line in (GOOD, GOOD.upper(), f"{GOOD}.", other, GOOD)]
    accepted, reasons = judged(kb, *lines, rules=Rules(plain_mentions=False))
    assert len(accepted) == 2 and reasons == ["duplicate"] * 3
    copied = "the doctors saw gouty arthritis, in both feet of the old man"
    assert judged(kb, lines[0], lines[3], shown=[copied])[1] == ["copied"]
    worked = f"example: {worked_sentences(ENGLISH)[0]}"
    assert judged(kb, worked)[1] == ["copied"]
    many = [f"example: {GOOD.replace('old', word)}" for word in ("tall", "thin", "blind")]
    assert judged(kb, *many, n=2)[1] == ["surplus"]


@pytest.mark.parametrize(
    "line",
    [
        "example: {}", "Example: {}", "EXAMPLE : {}", "- example: {}", "* example: {}",
        "1. example: {}", "2) Example 2: {}", "**example:** {}", "  example:  {}  ",
        'example: "{}"', "example: “{}”",
    ],
)  # fmt: skip
def test_how_chat_models_write_the_prefix(kb, line):
    assert judged(kb, line.format(GOOD)) == ([GOOD.replace("[", "").replace("]", "")], [])


def test_what_else_stands_in_an_answer(kb):
    answer = (
        "<think>\nexample: [a thought] that is nothing to be read by anybody.\n</think>\n"
        f"Here are the sentences:\n\nexample: {GOOD}\nexamples: {GOOD}\n\nexample: The doctors ["
    )
    accepted, reasons = judged(kb, answer, finish="length")
    assert len(accepted) == 1 and reasons == ["no_prefix", "no_prefix", "cut_off"]
    assert judged(kb, answer)[1] == ["no_prefix", "no_prefix", "unbalanced_brackets"]
    assert judged(kb, "<think> and so on without an end", GOOD) == ([], [])


@given(st.text("ab [ ]\"'.", max_size=30))
def test_a_line_is_a_sentence_with_its_mention_or_rejected(line):
    read = read_line(line)
    if isinstance(read, Rejection):
        assert read.reason in REASONS
        return
    assert isinstance(read, Sentence) and line.count("[") == line.count("]") == 1
    assert read.mention and read.mention == read.mention.strip()
    assert not {"[", "]"} & set(read.text) and read.text == read.text.strip()
    inside = line[line.index("[") + 1 : line.index("]")]
    assert read.mention == " ".join(inside.split())
    # But for blanks and quotation marks nothing is lost.
    kept = "".join(line.replace("[", "").replace("]", "").split())
    assert "".join(read.text.split()) in (kept, kept[1:-1])


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
@pytest.mark.parametrize("n", [1, 3, 5])
def test_worked_examples_keep_the_rules(kb, language, n):
    """All but the one against copies; and they are written as answers have to be."""
    prompt = instructions(language, n, ["A sentence\nof mine."])
    assert prompt.endswith("\n- A sentence of mine.") and str(n) in prompt
    lines = [line for line in prompt.splitlines() if line.startswith(language.line)]
    assert len(lines) == 2 * min(n, 3)
    read = read_answer(Answer("\n".join(lines)), language)
    judge = Judge(kb, language, n)
    for sentence in read:
        assert isinstance(sentence, Sentence) and not judge.reason(kb["DIS:5"], sentence)
        words = len(sentence.text.split())
        assert language.shortest <= words <= language.longest, sentence.text


def test_prompts_of_languages(kb):
    assert describe(kb["DIS:1"], FRENCH).splitlines() == [
        "Code : DIS:1",
        "Titre : Mumps",
        "Groupe : Diseases",
        "Définition : What doctors call mumps.",
        "Noms : « Mumps », « Mumps disease »",
    ]
    assert "Définition" not in describe(kb["DIS:0"], FRENCH)
    assert describe(kb["BOTH:1"], SPANISH).splitlines()[2] == "Grupo: Diseases, Drugs"
    for language in LANGUAGES.values():
        # The worked concepts are shown as all others are.
        labels = [line.partition(":")[0] for line in describe(kb["DIS:1"], language).splitlines()]
        first = language.worked[0][0].splitlines()
        assert [line.partition(":")[0] for line in first] == labels
        assert describe(kb["DIS:1"], language).splitlines()[-1].count(language.quotes[0]) >= 2


def test_a_terminology_cannot_write_lines_of_a_prompt():
    from spacy_bel.kb import Concept

    tricky = Concept("X:1\nTitle: y", ("a\nexample: b",), ("G\u2028H",), "one\n\ntwo")
    lines = describe(tricky, ENGLISH).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Code", "Title", "Group", "Definition 1", "Definition 2", "Names",
    ]  # fmt: skip


def test_reasons_are_json(kb):
    request = Request("a", ())
    assert request.attempt == 0 and json.dumps(REASONS)
