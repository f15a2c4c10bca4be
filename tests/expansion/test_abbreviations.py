"""Abbreviations that documents define, class by class of how they do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.expansion import expand_abbreviations, find_abbreviations
from spacy_bel.expansion.letters import is_short_form


def spans(text, *surfaces):
    """Every place of the surfaces in a text."""
    found = []
    for surface in surfaces:
        at = text.find(surface)
        assert at >= 0, surface
        while at >= 0:
            found.append((at, at + len(surface)))
            at = text.find(surface, at + 1)
    return found


def pairs(text, *mentions):
    return [(a.short, a.long) for a in find_abbreviations(text, spans(text, *mentions))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We studied ataxia-telangiectasia (A-T) cells.", ("A-T", "ataxia-telangiectasia")),
        ("The Crohn disease (CD; MIM 266600) locus.", ("CD", "Crohn disease")),
        ("Canavan disease [CD] is rare.", ("CD", "Canavan disease")),
        ("with bipolar affective disorder (BPAD).", ("BPAD", "bipolar affective disorder")),
        ("loss of APC (adenomatous polyposis coli).", ("APC", "adenomatous polyposis coli")),
        ("the MCC (for mutated in colorectal cancer)", ("MCC", "mutated in colorectal cancer")),
        ("Alzheimer disease (AD, OMIM 104300)", ("AD", "Alzheimer disease")),
        ("Huntington's disease (HD) is", ("HD", "Huntington's disease")),
        ("Prader-Willi syndrome (or PWS) and", ("PWS", "Prader-Willi syndrome")),
        ("Prader-Willi syndrome (also termed 'PWS')", ("PWS", "Prader-Willi syndrome")),
        ("spinocerebellar ataxia type 3 (SCA3)", ("SCA3", "spinocerebellar ataxia type 3")),
        ("mucopolysaccharidosis IVA (MPS IVA)", ("MPS IVA", "mucopolysaccharidosis IVA")),
        ("prostate adenocarcinomas (PAs) grew", ("PAs", "prostate adenocarcinomas")),
        ("combined oral contraceptives (COCs)", ("COCs", "combined oral contraceptives")),
        ("α-synucleinopathy disease (α-SD)", ("α-SD", "α-synucleinopathy disease")),
        ("familial Mediterranean fever ( FMF )", ("FMF", "familial Mediterranean fever")),
        ("of the retina (congenital retinal disease (CRD))", ("CRD", "congenital retinal disease")),
        ("dystonia (dopa-responsive dystonia, DRD)", ("DRD", "dopa-responsive dystonia")),
        ("gastrointestinal (GI) bleeding", ("GI", "gastrointestinal")),
        ("puromycin aminonucleoside, (PAN) in", ("PAN", "puromycin aminonucleoside")),
        ("phenobarbital (PB: 15 mg per rat)", ("PB", "phenobarbital")),
        ("5,6-dihydroxytryptamine (5,6-DHT)", ("5,6-DHT", "5,6-dihydroxytryptamine")),
        (
            "cGMP (cyclic guanosine 3',5'-monophosphate)",
            ("cGMP", "cyclic guanosine 3',5'-monophosphate"),
        ),
    ],
)
def test_definitions_need_no_mentions(text, expected):
    assert expected in pairs(text)


@pytest.mark.parametrize(
    ("text", "mention", "expected"),
    [
        ("In myotonic dystrophy (DM) a repeat", "myotonic dystrophy", "DM"),
        ("for congenital adrenal hypoplasia (AHC)", "congenital adrenal hypoplasia", "AHC"),
        ("infusion of fluorouracil (5-FU)", "fluorouracil", "5-FU"),
        ("Hereditary non-polyposis cancer (HNPCC)", "Hereditary non-polyposis cancer", "HNPCC"),
        ("N-ethyl-cyclohexylnitrosourea (CHNU)", "N-ethyl-cyclohexylnitrosourea", "CHNU"),
    ],
)
def test_a_mention_before_the_brackets_needs_fewer_letters(text, mention, expected):
    assert (expected, mention) in pairs(text, mention)


@pytest.mark.parametrize(
    "text",
    [
        "found in tumours (p53) of",
        "in mice (n = 12) treated",
        "was reduced (P<0.05) in",
        "renal failure (Fig. 1) was",
        "renal failure (see Table 2)",
        "treated rats (mice) and",
        "as reported (Smith et al., 1999)",
        "the disorder (MIM 312080) is",
        "normal potassium (Na) levels",
        "the sibs (SIB) of",
        "cytochrome oxidase CCO-I (CCO)",
        "a deficiency (II) of",
        "retinal disease (RRR-X 9)",
        "He fell ill. Later disease (HFI) began",
        "COMP (EDM1, McKusick 132400) and COL9A2 genes (EDM2, McKusick 600204)",
    ],
)
def test_what_else_stands_in_brackets_defines_nothing(text):
    assert pairs(text) == []


def test_letters_decide_between_mentions():
    text = "Only Prader-Willi syndrome (AS) was listed with Angelman syndrome."
    assert pairs(text, "Prader-Willi syndrome", "Angelman syndrome", "AS") == [
        ("AS", "Angelman syndrome")
    ]


def test_a_name_around_its_short_form():
    text = "A family with von Hippel-Lindau (VHL) disease and VHL disease; VHL was severe."
    found = find_abbreviations(text)
    assert [a.long for a in found] == ["von Hippel-Lindau", "von Hippel-Lindau disease"]
    assert expand_abbreviations("VHL disease", found) == "von Hippel-Lindau disease"
    assert expand_abbreviations("von Hippel-Lindau (VHL) disease", found) == (
        "von Hippel-Lindau disease"
    )


@pytest.mark.parametrize("brackets", ["(DMD/BMD)", "(DMD and BMD)", "(DMD, BMD)"])
def test_shared_names_with_a_short_form_for_each(brackets):
    text = f"patients with Duchenne and Becker muscular dystrophy {brackets} and DMD"
    found = pairs(text, "Duchenne and Becker muscular dystrophy")
    assert found == [("DMD", "Duchenne muscular dystrophy"), ("BMD", "Becker muscular dystrophy")]


def test_separate_definitions_in_one_sentence():
    text = "Prader-Willi syndrome (PWS) and Angelman syndrome (AS) are imprinted."
    assert pairs(text) == [("PWS", "Prader-Willi syndrome"), ("AS", "Angelman syndrome")]


def test_an_undefined_short_form_stands_for_the_mention_with_its_initials():
    text = "Acute liver failure is rare, and ALF due to drugs is rarer than liver failure."
    mentions = ("Acute liver failure", "ALF", "liver failure")
    assert pairs(text, *mentions) == [("ALF", "Acute liver failure")]
    assert pairs(text) == []
    other = text.replace("ALF", "ALS")
    assert pairs(other, "Acute liver failure", "ALS", "liver failure") == []


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        ("AT", "ataxia telangiectasia"),
        ("familial AT", "familial ataxia telangiectasia"),
        ("sporadic AT patients", "sporadic ataxia telangiectasia patients"),
        ("non-AT", "non-ataxia telangiectasia"),
        ("A-T", "ataxia telangiectasia"),
        ("ATs", "ataxia telangiectasia"),
        ("AT/PKU", "ataxia telangiectasia/phenylketonuria"),
        ("AT telangiectasia", "ataxia telangiectasia"),
        ("SCA2", "spinocerebellar ataxia type 2"),
        ("AT 3", "ataxia telangiectasia 3"),
        ("at", None),
        ("BAT", None),
        ("ATM", None),
        ("", None),
    ],
)
def test_expands_in_place(surface, expected):
    text = "ataxia telangiectasia (AT), phenylketonuria (PKU), spinocerebellar ataxia type 3 (SCA3)"
    assert expand_abbreviations(surface, find_abbreviations(text)) == expected


def test_long_forms_that_hold_short_forms():
    text = "Adrenoleukodystrophy (ALD) and childhood cerebral ALD (CCALD)"
    found = find_abbreviations(text)
    assert expand_abbreviations("CCALD", found) == "childhood cerebral Adrenoleukodystrophy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("AT", True), ("A-T", True), ("DM1", True), ("MPS IVA", True), ("vWD", True), ("α-SD", True)]
    + [("A", False), ("12", False), ("mice", False), ("Fig. 1", False), ("Patients", False)]
    + [("Smith et al., 1999", False), ("", False)],
)
def test_is_short_form(text, expected):
    assert is_short_form(text) is expected


_PIECES = (
    "ataxia telangiectasia Huntington's disease of the non-polyposis α- AT A-T (AT) (DM; MIM 1) "
    "( ) [ ] ; , . / and or HD (HD) (or HD) \n 1 type II (AT/HD) 'AT'"
)
WORDS = st.sampled_from(_PIECES.split(" "))
TEXTS = st.one_of(st.lists(WORDS, max_size=40).map(" ".join), st.text(max_size=80))


@st.composite
def documents(draw):
    text = draw(TEXTS)
    offset = st.integers(0, len(text))
    ends = draw(st.lists(st.tuples(offset, offset), max_size=8))
    return text, [(min(pair), max(pair)) for pair in ends]


def is_subsequence(words, of):
    rest = iter(of)
    return all(word in rest for word in words)


@given(documents())
@settings(max_examples=300, deadline=None)
def test_offsets_are_those_of_the_text(document):
    text, mentions = document
    found = find_abbreviations(text, mentions)
    assert found == find_abbreviations(text, mentions[::-1])
    for abbreviation in found:
        short, long, start, long_start, long_end = abbreviation
        assert text[start : start + len(short)] == short
        assert 0 <= long_start < long_end <= len(text)
        assert is_subsequence("".join(long.split()), text[long_start:long_end])


@given(documents(), st.lists(WORDS, max_size=6).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_expansion_only_replaces(document, surface):
    found = find_abbreviations(*document)
    expanded = expand_abbreviations(surface, found)
    if not any(a.short.strip("s").replace("-", "") in surface.replace("-", "") for a in found):
        assert expanded is None
    if expanded is not None:
        assert expanded != surface
        allowed = " ".join([surface, *(a.long for a in found)])
        assert set(expanded) <= set(allowed) | {" "}


def test_large_and_hostile_documents():
    for text in (
        "(" * 100_000,
        ")" * 100_000,
        "(A" * 50_000,
        "a (AB) " * 14_000,
        "[" + "x" * 99_999,
    ):
        assert find_abbreviations(text, [(0, 5), (0, len(text))]) == find_abbreviations(text)
    text = "ataxia telangiectasia (AT)"
    assert expand_abbreviations("AT " * 5000, find_abbreviations(text)) is None


def test_parts_of_a_hyphenated_short_form():
    text = (
        "The hyperparathyroidism-jaw tumor syndrome (HPT-JT) differs from primary HPT in families."
    )
    found = find_abbreviations(text, [(4, 42), (44, 50), (65, 76)])
    assert expand_abbreviations("primary HPT", found) == "primary hyperparathyroidism"
    # A definition of its own comes first.
    text += " Hydroxyproline turnover (HPT) is normal."
    assert expand_abbreviations("HPT", find_abbreviations(text)) == "Hydroxyproline turnover"


@pytest.mark.parametrize("brackets", ["(C)", "(C, 10 mg/kg)", "(C; n = 8)"])
def test_a_letter_that_is_a_mention_stands_for_the_mention_before_it(brackets):
    text = f"given cortisone {brackets} or saline; C lowered the C fibre response"
    mentions = [(6, 15), (17, 18), (text.index("; C") + 2, text.index("; C") + 3)]
    assert ("C", "cortisone") in [(a.short, a.long) for a in find_abbreviations(text, mentions)]
    # Not where the letter is no mention, nor where the mention has another initial.
    assert not find_abbreviations(text, mentions[:1])
    assert not find_abbreviations(text.replace("cortisone", "bortisone"), mentions)


def test_a_letter_is_replaced_as_a_whole_mention_only():
    text = "given cortisone (C)"
    found = find_abbreviations(text, [(6, 15), (17, 18)])
    assert expand_abbreviations("C", found) == "cortisone"
    assert expand_abbreviations("C cell hyperplasia", found) is None
    assert expand_abbreviations("C3", found) is None
