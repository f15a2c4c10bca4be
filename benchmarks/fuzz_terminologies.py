"""Small valid terminologies in every format, written for this: what fuzzing of readers starts from.

A single file is read as it stands; several are the directory that a format reads. All terms and
codes are made up.
"""

from __future__ import annotations

import gzip
import json

from benchmarks.fuzz_damage import Files

_OBO = """format-version: 1.2
data-version: toy/2024-01-31
default-namespace: toy

[Term]
id: T:0001
name: disorder

[Term]
id: T:0002
name: dermoid fever
alt_id: T:0009
def: "A fever \\"of\\" the skin." [T:x "y"]
synonym: "skin fever" EXACT [X:1]
synonym: "fever, dermoid" RELATED LAY [] {source="z"}
xref: UMLS:C0000002
is_a: T:0001 ! disorder

[Term]
id: T:0003
name: obsolete blue lung
is_obsolete: true
replaced_by: T:0002

[Typedef]
id: part_of
name: part of
"""

_MEDIC = """D000001|100100|C000009||Dermoid fever|Skin fever|Fever, dermoid
D000002||Blue lung disease|Lung, blue
200200||Adult onset redness
"""

_CTD = """# CTD disease vocabulary
# Fields:
# DiseaseName,DiseaseID,AltDiseaseIDs,Definition,ParentIDs,TreeNumbers,Synonyms
#
Dermoid fever,MESH:D000001,DO:DOID:1|OMIM:1,"A fever, ""of"" the skin",MESH:D000002,C1,Fever
"Lung, blue",MESH:D000002,,,,C1/D2,"Blue lung|Lungs, blue"
"""

_GAZETTEER = """code\tlanguage\tterm\tsemantic_tag\tmainterm
100001\tes\tfiebre dermoide\ttrastorno\t1
100001\tes\tfiebre de piel\ttrastorno\t0
100002\tes\tpulmón azul\thallazgo\t1
"""

_TABLE = """code\tname\tsynonyms\tgroup\tdefinition\txrefs\tparents\talt_ids
T1\tDermoid fever\tSkin fever|Fever\tDisease\tA fever.\tUMLS:C1\tT2\tO1
T2\t"Blue ""lung"" B"\t\tDisease|Finding\t\t\t\t
"""

_MESH_TABLE = "\n".join(
    "\t".join(row)
    for row in (
        (
            *("DescriptorUI", "DescriptorName", "ConceptUI", "TermUI", "TermName"),
            *("ConceptPreferredTermYN", "IsPermutedTermYN", "LexicalTag", "RecordPreferredTermYN"),
        ),
        ("D000001", "Fever, Dermoid", "M1", "T1", "Fever, Dermoid", "Y", "N", "NON", "Y"),
        ("D000001", "Fever, Dermoid", "M1", "T1", "Dermoid Fever", "N", "Y", "NON", "N"),
        ("D000002", "Blue Lung", "M2", "T2", "Blue Lung", "Y", "N", "NON", "Y"),
    )
)

_MESH = """<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "nlmdescriptorrecordset.dtd">
<DescriptorRecordSet LanguageCode="eng">
<DescriptorRecord DescriptorClass="1">
<DescriptorUI>D000001</DescriptorUI>
<DescriptorName><String>Fever, Dermoid</String></DescriptorName>
<TreeNumberList><TreeNumber>C01.100</TreeNumber></TreeNumberList>
<ConceptList><Concept PreferredConceptYN="Y"><ConceptUI>M1</ConceptUI>
<ConceptName><String>Fever, Dermoid</String></ConceptName><ScopeNote>A fever &amp; more.</ScopeNote>
<TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N" LexicalTag="NON"
 RecordPreferredTermYN="Y"><TermUI>T1</TermUI><String>Fever, Dermoid</String></Term>
<Term ConceptPreferredTermYN="N" IsPermutedTermYN="Y" LexicalTag="NON" RecordPreferredTermYN="N">
<TermUI>T1</TermUI><String>Dermoid Fever</String></Term></TermList></Concept></ConceptList>
</DescriptorRecord>
<DescriptorRecord DescriptorClass="1">
<DescriptorUI>D000002</DescriptorUI>
<DescriptorName><String>Diseases</String></DescriptorName>
<TreeNumberList><TreeNumber>C01</TreeNumber></TreeNumberList>
<ConceptList><Concept PreferredConceptYN="Y"><ConceptUI>M2</ConceptUI>
<ConceptName><String>Diseases</String></ConceptName>
<TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N" LexicalTag="NON"
 RecordPreferredTermYN="Y"><TermUI>T2</TermUI><String>Diseases</String></Term></TermList>
</Concept></ConceptList></DescriptorRecord>
</DescriptorRecordSet>
"""

_SUPPLEMENT = """<?xml version="1.0"?>
<SupplementalRecordSet LanguageCode="eng">
<SupplementalRecord SCRClass="1"><SupplementalRecordUI>C000001</SupplementalRecordUI>
<SupplementalRecordName><String>dermoidin</String></SupplementalRecordName>
<HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo><DescriptorUI>*D000001</DescriptorUI>
<DescriptorName><String>Fever, Dermoid</String></DescriptorName></DescriptorReferredTo>
</HeadingMappedTo></HeadingMappedToList>
<ConceptList><Concept PreferredConceptYN="Y"><ConceptUI>M9</ConceptUI>
<ConceptName><String>dermoidin</String></ConceptName>
<TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N" LexicalTag="NON"
 RecordPreferredTermYN="Y"><TermUI>T9</TermUI><String>dermoidin</String></Term></TermList>
</Concept></ConceptList></SupplementalRecord>
</SupplementalRecordSet>
"""

_TREES = b"Fever, Dermoid;C01.100\nBlue Lung;C01\nFever, Dermoid;A01.2\n"
_SUPPLEMENTARY = b"MESH\tC000001\tdermoidin\tCHEBI\tCHEBI:1\nMESH\tD000001\tFever\tDOID\t9\n"

_BABELON = """source_language\tsubject_id\tpredicate_id\tsource_value\ttranslation_value\tStatus
ID\tID\tA\tB\tC\tD
en\tT:0001\trdfs:label\tDermoid fever\tFièvre dermoïde|Fièvre de peau\tOFFICIAL
en\tT:0001\tIAO:0000115\tA fever.\tUne fièvre.\tOFFICIAL
en\tT:0002\trdfs:label\tBlue lung\t\tNOT_TRANSLATED
"""


def _umls() -> Files:
    def atom(cui: str, atom: str, source: str, kind: str, text: str, language: str = "ENG") -> str:
        return (
            f"{cui}|{language}|P|L{atom}|PF|S{atom}|Y|A{atom}||M1|D1|{source}|{kind}|D{atom}|{text}"
            "|0|N|256|"
        )

    tables = {
        "MRCONSO": [
            atom("C0000001", "1", "MSH", "MH", "Dermoid fever"),
            atom("C0000001", "2", "SNOMEDCT_US", "SY", "Skin fever"),
            atom("C0000001", "3", "MSHFRE", "MH", "Fièvre dermoïde", "FRE"),
            atom("C0000002", "4", "MSH", "MH", "Blue lung"),
        ],
        "MRSTY": [
            "C0000001|T047|B2.2.1.2.1|Disease or Syndrome|AT1|256|",
            "C0000002|T033|A2.2|Finding|AT2|256|",
        ],
        "MRDEF": ["C0000001|A1|AT3||MSH|A fever of the skin.|N||"],
        "MRREL": ["C0000001|A1|AUI|PAR|C0000002|A4|AUI||R1||MSH|MSH|||N||"],
        "MRHIER": ["C0000001|A1|1|A4|MSH||A4||||"],
        "MRRANK": ["0002|MSH|MH|N|", "0001|SNOMEDCT_US|SY|N|"],
        "MRCUI": ["C0000009|2020AA|SY|||C0000001|Y|", "C0000008|2020AA|DEL||||N|"],
    }
    return {f"{t}.RRF": ("\n".join(rows) + "\n").encode() for t, rows in tables.items()}


def _snomed() -> Files:
    tables = {
        "Terminology/sct2_Concept_Snapshot_INT_20240101.txt": (
            "id effectiveTime active moduleId definitionStatusId",
            "100001 20240101 1 900000000000207008 900000000000074008",
            "100002 20240101 1 900000000000207008 900000000000074008",
            "100003 20240101 0 900000000000207008 900000000000074008",
        ),
        "Terminology/sct2_Description_Snapshot-en_INT_20240101.txt": (
            "id effectiveTime active moduleId conceptId languageCode typeId term "
            "caseSignificanceId",
            "1 20240101 1 9 100001 en 900000000000003001 Fever_(disorder) 9",
            "2 20240101 1 9 100001 en 900000000000013009 Fever 9",
            "3 20240101 1 9 100002 en 900000000000003001 Disease_(disorder) 9",
            "4 20240101 1 9 100003 en 900000000000003001 Old_(disorder) 9",
        ),
        "Terminology/sct2_Relationship_Snapshot_INT_20240101.txt": (
            "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId "
            "characteristicTypeId modifierId",
            "1 20240101 1 9 100001 100002 0 116680003 9 9",
        ),
        "Refset/Language/der2_cRefset_LanguageSnapshot-en_INT_20240101.txt": (
            "id effectiveTime active moduleId refsetId referencedComponentId acceptabilityId",
            "x 20240101 1 9 900000000000509007 2 900000000000548007",
        ),
        "Refset/Content/der2_cRefset_AssociationSnapshot_INT_20240101.txt": (
            "id effectiveTime active moduleId refsetId referencedComponentId targetComponentId",
            "x 20240101 1 9 900000000000526001 100003 100001",
        ),
    }
    return {
        f"Snapshot/{path}": "".join(
            row.replace(" ", "\t").replace("_(", " (") + "\r\n" for row in rows
        ).encode()
        for path, rows in tables.items()
    }


def terminology_seeds() -> dict[str, list[Files]]:
    """By the name of a format in ``spacy_bel.kb.readers``."""
    row = {"code": "T1", "name": "Dermoid fever", "synonyms": ["Fever"], "group": "Disease"}
    ontology = [
        {
            **{"id": "T1", "name": "Dermoid fever", "aliases": ["Fever", "Skin fever"]},
            **{"definitions": [["MSH", "A fever."]], "semantic_types": ["T047"]},
            "broader_concepts": ["Blue lung"],
        },
        {"id": "T2", "name": "Blue lung", "aliases": [], "definition": "A lung."},
    ]
    longbel = {"DISO": {"Dermoid fever": "C1", "Fever": "C1"}, "ANAT": {"Lung": "C2"}}
    ctd_tsv = _CTD.replace('"Lung, blue"', "Lung").replace('"Blue lung|Lungs, blue"', "Lung")
    ctd_tsv = ctd_tsv.replace('"A fever, ""of"" the skin"', "A fever").replace(",", "\t")
    return {
        "obo": [{"toy.obo": _OBO.encode()}],
        "medic": [{"medic.txt": _MEDIC.encode()}],
        "ctd": [{"CTD_diseases.csv": _CTD.encode()}, {"CTD_diseases.tsv": ctd_tsv.encode()}],
        "gazetteer": [{"gazetteer.tsv": _GAZETTEER.encode()}],
        "table": [
            {"toy.tsv": _TABLE.encode()},
            {"toy.csv": b'code,name,synonyms\nT1,"Fever, dermoid",Fever|Skin fever\nT2,Lung,\n'},
            {"toy.jsonl": f"{json.dumps(row)}\n{json.dumps({**row, 'code': 'T2'})}\n".encode()},
        ],
        "mesh-table": [{"mesh_terms.tsv": _MESH_TABLE.encode()}],
        "mesh": [{"desc2024.xml": _MESH.encode()}, {"supp2024.xml": _SUPPLEMENT.encode()}],
        "umls": [_umls()],
        "snomed": [_snomed()],
        "ontology-json": [
            {"ontology.json": json.dumps(ontology).encode()},
            {"ontology.json.gz": gzip.compress(json.dumps(ontology).encode(), mtime=0)},
        ],
        "longbel": [{"text_to_code.json": json.dumps(longbel).encode()}],
    }


def further_seeds() -> dict[str, list[Files]]:
    """What is read beside a terminology: translations, and the tables that go with a MeSH table."""
    tables = {"a.tsv": _MESH_TABLE.encode(), "mtrees.bin": _TREES, "scr.tsv": _SUPPLEMENTARY}
    return {"babelon": [{"fr.babelon.tsv": _BABELON.encode()}], "mesh-table, all": [tables]}
