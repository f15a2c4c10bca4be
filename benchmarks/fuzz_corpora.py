"""Small valid corpora in every format, written for this: what fuzzing of their readers starts from.

A single file is read as it stands; several are the directory that a format reads.
"""

from __future__ import annotations

import json

import spacy
from spacy.tokens import DocBin

from benchmarks.fuzz_damage import Files
from spacy_bel.corpora.docs import to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument

_TITLE = "Acute dermoid fever in adults"
_ABSTRACT = "Patients with dermoid fever or blue-lung ω disease were seen."
_TEXT = f"{_TITLE}\n{_ABSTRACT}"

_PUBTATOR = f"""101|t|{_TITLE}
101|a|{_ABSTRACT}
101\t6\t19\tdermoid fever\tDisease\tD000001
101\t44\t57\tdermoid fever\tDisease\tD000001|OMIM:100100
101\t61\t80\tblue-lung ω disease\tDisease\tD000002+D000003\tblue|lung
101\tCID\tD000001\tD000002

102|t|Nothing here
102|a|
"""

_BIOC = f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>toy</source><date>20240101</date><key>toy.key</key>
<document><id>101</id><infon key="split">train</infon>
<passage><infon key="type">title</infon><offset>0</offset><text>{_TITLE}</text>
<annotation id="0"><infon key="type">Disease</infon><infon key="MESH">D000001</infon>
<location offset="6" length="13"/><text>dermoid fever</text></annotation>
</passage>
<passage><infon key="section_type">ABSTRACT</infon><offset>{len(_TITLE) + 1}</offset>
<text>{_ABSTRACT}</text>
<annotation id="1"><infon key="type">Disease</infon><infon key="identifier">D2|OMIM:1</infon>
<infon key="json:flags">["x"]</infon>
<location offset="61" length="4"/><location offset="73" length="7"/><text>blue disease</text>
</annotation>
<annotation id="2"><infon key="type">Disease</infon><infon key="concept_id">D1</infon>
<infon key="all_links">D1=0.9|D2=0.1</infon>
<location offset="44" length="13"/><text>dermoid fever</text></annotation>
<annotation id="3"><infon key="type">Doc</infon><text>unlocated</text></annotation>
</passage>
<relation id="R1"><infon key="relation">CID</infon><node refid="0" role="a"/></relation>
</document>
<document><id>102</id><passage><offset>0</offset>
<sentence><offset>0</offset><text>One.</text></sentence>
<sentence><offset>5</offset><text>Two &amp; three.</text></sentence></passage></document>
</collection>
"""

_ANN = """T1\tDISO 6 19\tdermoid fever
#1\tAnnotatorNotes T1\tC0000001 C0000002
T2\tDISO 61 65;73 80\tblue disease
N1\tReference T2 UMLS:C0000003\tBlue disease
A1\tNegated T2
R1\tSame Arg1:T1 Arg2:T2\t
*\tEquiv T1 T2
E1\tDISO:T1
T3\tDISO 44 57\tdermoid fever
#2\tAnnotatorNotes T3\tC0000001+C0000002
"""

_SPACCC = """filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel
one\tT1\tENFERMEDAD\t6\t19\tdermoid fever\t100001\tEXACT
one\tT2\tENFERMEDAD\t44\t57\tdermoid fever\t100001+100002\tNARROW
two\tT1\tENFERMEDAD\t0\t7\tNothing\tNO_CODE\tEXACT
"""

_KNOWTATOR = """<?xml version="1.0" encoding="UTF-8"?>
<annotations textSource="one.txt">
  <annotation>
    <mention id="T_1" />
    <annotator id="A_1">Anne O. Tator</annotator>
    <span start="6" end="19" />
    <spannedText>dermoid fever</spannedText>
  </annotation>
  <annotation>
    <mention id="T_2" />
    <annotator id="A_1">Anne O. Tator</annotator>
    <span start="61" end="65" />
    <span start="73" end="80" />
    <spannedText>blue ... disease</spannedText>
  </annotation>
  <classMention id="T_1"><mentionClass id="T:0001">fever</mentionClass></classMention>
  <classMention id="T_2"><mentionClass id="T:0002">disease</mentionClass></classMention>
</annotations>
"""


def _bigbio() -> list[dict[str, object]]:
    links = [{"db_name": "MESH", "db_id": "D000001"}, {"db_name": "OMIM", "db_id": "1+2"}]
    passages = [
        {"id": "p1", "type": "title", "text": [_TITLE], "offsets": [[0, len(_TITLE)]]},
        {"id": "p2", "type": "a", "text": [_ABSTRACT], "offsets": [[len(_TITLE) + 1, len(_TEXT)]]},
    ]
    entities = [
        {
            **{"id": "e1", "type": "Disease", "text": ["dermoid fever"], "offsets": [[6, 19]]},
            "normalized": links,
        },
        {
            **{"id": "e2", "type": "Disease", "text": ["blue", "disease"]},
            **{"offsets": [[61, 65], [73, 80]], "normalized": []},
        },
    ]
    page = {"id": "101", "document_id": "101", "passages": passages, "entities": entities}
    rest: dict[str, object] = {"events": [], "coreferences": [], "relations": []}
    return [{**page, **rest}, {**page, **rest, "id": "102", "document_id": "x"}]


def _jsonl() -> bytes:
    entity = {"start": 6, "end": 19, "label": "Disease", "code": "D000001+D000002"}
    rows = [
        {"id": "101", "text": _TEXT, "entities": [entity], "source": "toy"},
        {"id": 102, "text": _TEXT, "mentions": [{"start": 0, "end": 5}]},
        {"text": "no mention"},
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _docbin() -> bytes:
    annotations = [
        Annotation(6, 19, "dermoid fever", "Disease", [["D000001"]]),
        Annotation(61, 80, "blue disease", "Disease", [["D1", "D2"]], [(61, 65), (73, 80)]),
    ]
    record = CorpusDocument("101", _TEXT, [(0, len(_TITLE))], annotations)
    return DocBin(docs=[to_doc(record, spacy.blank("en"))], store_user_data=True).to_bytes()


def corpus_seeds() -> dict[str, list[Files]]:
    """By the name of a format in ``spacy_bel.corpora.reading``."""
    text = _TEXT.encode()
    pages = _bigbio()
    lines = "".join(json.dumps(page) + "\n" for page in pages).encode()
    return {
        "pubtator": [{"toy.pubtator": _PUBTATOR.encode()}],
        "bigbio": [{"toy.json": json.dumps(pages).encode()}, {"toy.jsonl": lines}],
        "jsonl": [{"toy.jsonl": _jsonl()}],
        "text": [{"toy.txt": text}],
        "bioc": [{"toy.xml": _BIOC.encode()}],
        "brat": [{"one.ann": _ANN.encode(), "one.txt": text}],
        "spaccc": [{"m.tsv": _SPACCC.encode(), "text/one.txt": text, "text/two.txt": b"Nothing"}],
        "knowtator": [{"one.knowtator.xml": _KNOWTATOR.encode(), "one.txt": text}],
        "docbin": [{"toy.spacy": _docbin()}],
    }
