"""A small terminology in every format, written for these tests, in the documented layouts."""

from __future__ import annotations

import gzip
import json

OBO = """format-version: 1.4
ontology: toy

[Term]
id: A:1
name: Seizure
synonym: "Fit" EXACT []

[Term]
id: A:2
name: Febrile seizure
is_a: A:1
"""

MEDIC = "C500001|100001||Another Disorder\nD000001||Made-up Disease|Disease, Made-up\n"

MRCONSO = """\
C0000001|ENG|P|L1|PF|S1|Y|A0000001||X1|D001|MSH|MH|D001|Seizure|0|N||
C0000001|ENG|P|L1|VO|S2|Y|A0000002||X2|D001|MSH|ET|D001|Seizures|0|N||
C0000001|ENG|S|L2|PF|S3|Y|A0000003||X3|10|SNOMEDCT_US|PT|10|Convulsion|9|N||
C0000001|SPA|P|L3|PF|S4|Y|A0000004||X4|10|SCTSPA|PT|10|Convulsión|9|N||
C0000001|ENG|S|L4|PF|S5|Y|A0000005||X5|10|SNOMEDCT_US|OAP|10|Old fit|9|O||
C0000002|ENG|P|L5|PF|S6|Y|A0000006||X6|NOCODE|MTH|PN|NOCODE|Brain|0|N||
C0000003|SPA|P|L6|PF|S7|Y|A0000007||X7|30|SCTSPA|PT|30|Fiebre|9|N||
C0000004|ENG|P|L7|PF|S8|Y|A0000008||X8|40|NCI|PT|40|Idea|0|N||
"""
MRSTY = """\
C0000001|T184|A2.2.2|Sign or Symptom|AT1|256|
C0000001|T047|B2.2.1.2.1|Disease or Syndrome|AT2|256|
C0000002|T023|A1.2.3.1|Body Part, Organ, or Organ Component|AT3|256|
C0000003|T184|A2.2.2|Sign or Symptom|AT4|256|
C0000004|T078|A2.1|Idea or Concept|AT5|256|
"""
MRDEF = """\
C0000001|A0000003|AT6||NCI|Dropped, suppressed.|O||
C0000001|A0000001|AT7||MSH|A sudden discharge.|N||
"""
MRREL = """\
C0000001|A0000001|AUI|PAR|C0000004|A0000008|AUI||R1||MSH|MSH|||N||
C0000001|A0000001|AUI|CHD|C0000002|A0000006|AUI||R2||MSH|MSH|||N||
C0000001||CUI|RB|C0000003||CUI||R3||MTH|MTH|||N||
C0000001||CUI|RB|C0000002||CUI||R4||MTH|MTH|||O||
"""
MRHIER = "C0000001|A0000001|1|A0000006|MSH||A0000008.A0000006|||\n"
MRRANK = """\
0390|MSH|MH|N|
0380|MSH|ET|N|
0400|SNOMEDCT_US|PT|N|
"""
MRCUI = """\
C0000090|2010AA|RO|||C0000002|Y|
C0000090|2010AA|SY|||C0000001|Y|
C0000091|2011AA|DEL|||||
C0000092|2011AA|RB|||C0000001|Y|
"""

CONCEPT = """\
id\teffectiveTime\tactive\tmoduleId\tdefinitionStatusId
10\t20240101\t1\t1\t1
20\t20240101\t1\t1\t1
30\t20200101\t0\t1\t1
40\t20200101\t0\t1\t1
"""
_DESCRIPTION_HEADER = (
    "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId"
)
_FSN, _SYNONYM = "900000000000003001", "900000000000013009"
DESCRIPTION = f"""\
{_DESCRIPTION_HEADER}
101\t20240101\t1\t1\t10\ten\t{_FSN}\tSeizure (finding)\t1
102\t20240101\t1\t1\t10\ten\t{_SYNONYM}\tFit\t1
103\t20240101\t1\t1\t10\ten\t{_SYNONYM}\tSeizure "grand"\t1
104\t20240101\t0\t1\t10\ten\t{_SYNONYM}\tGone\t1
105\t20240101\t1\t1\t10\tes\t{_SYNONYM}\tConvulsión\t1
201\t20240101\t1\t1\t20\ten\t{_FSN}\tClinical finding (finding)\t1
202\t20240101\t1\t1\t20\ten\t{_SYNONYM}\tClinical finding\t1
301\t20240101\t1\t1\t30\ten\t{_FSN}\tOld seizure (finding)\t1
"""
LANGUAGE = """\
id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId\tacceptabilityId
a\t20240101\t1\t1\t508\t102\t900000000000549004
b\t20240101\t1\t1\t508\t103\t900000000000548007
c\t20240101\t1\t1\t509\t102\t900000000000548007
d\t20240101\t0\t1\t508\t102\t900000000000548007
e\t20240101\t1\t1\t508\t202\t900000000000548007
"""
RELATIONSHIP = """\
id\teffectiveTime\tactive\tmoduleId\tsourceId\tdestinationId\trelationshipGroup\ttypeId\tx\ty
1\t20240101\t1\t1\t10\t20\t0\t116680003\t1\t1
2\t20240101\t0\t1\t20\t10\t0\t116680003\t1\t1
3\t20240101\t1\t1\t20\t10\t0\t363698007\t1\t1
"""
ASSOCIATION = """\
id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId\ttargetComponentId
x\t20240101\t1\t1\t900000000000527005\t30\t10
y\t20240101\t1\t1\t900000000000523009\t40\t10
"""

MESH = """<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "https://example.org/never_fetched.dtd">
<DescriptorRecordSet LanguageCode="eng">
<DescriptorRecord DescriptorClass="1">
 <DescriptorUI>D000001</DescriptorUI>
 <DescriptorName><String>Diseases &amp; Such</String></DescriptorName>
 <TreeNumberList><TreeNumber>C01</TreeNumber></TreeNumberList>
 <ConceptList><Concept PreferredConceptYN="Y">
  <ConceptUI>M1</ConceptUI><ScopeNote>All of them.
    </ScopeNote>
  <TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N" RecordPreferredTermYN="Y">
   <TermUI>T1</TermUI><String>Diseases &amp; Such</String></Term></TermList>
 </Concept></ConceptList>
</DescriptorRecord>
<DescriptorRecord DescriptorClass="1">
 <DescriptorUI>D000002</DescriptorUI>
 <DescriptorName><String>Low Mood</String></DescriptorName>
 <TreeNumberList><TreeNumber>C01.100</TreeNumber><TreeNumber>F03.200</TreeNumber></TreeNumberList>
 <ConceptList>
 <Concept PreferredConceptYN="N"><ConceptUI>M3</ConceptUI><ScopeNote>Not this.</ScopeNote>
  <RegistryNumberList><RegistryNumber>50-00-0</RegistryNumber></RegistryNumberList>
  <TermList>
   <Term ConceptPreferredTermYN="N" IsPermutedTermYN="Y"><String>Blues, The</String></Term>
   <Term ConceptPreferredTermYN="N" IsPermutedTermYN="N"><String>The Blues</String></Term>
   <Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N"><String>Sadness</String></Term>
  </TermList></Concept>
 <Concept PreferredConceptYN="Y"><ConceptUI>M2</ConceptUI>
  <TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N" RecordPreferredTermYN="Y">
   <String>Low Mood</String></Term></TermList></Concept>
 </ConceptList>
</DescriptorRecord>
</DescriptorRecordSet>
"""
SUPPLEMENT = """<?xml version="1.0"?>
<SupplementalRecordSet>
<SupplementalRecord SCRClass="3">
 <SupplementalRecordUI>C000009</SupplementalRecordUI>
 <SupplementalRecordName><String>Rare Mood</String></SupplementalRecordName>
 <Note>A note.</Note>
 <HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo>
  <DescriptorUI>*D000002</DescriptorUI></DescriptorReferredTo></HeadingMappedTo>
 </HeadingMappedToList>
 <ConceptList><Concept PreferredConceptYN="Y">
  <TermList><Term ConceptPreferredTermYN="Y" IsPermutedTermYN="N"><String>Rare Mood</String></Term>
  </TermList></Concept></ConceptList>
</SupplementalRecord>
</SupplementalRecordSet>
"""

MESH_TABLE = (
    "DescriptorUI\tDescriptorName\tConceptUI\tTermUI\tTermName\tConceptPreferredTermYN\t"
    "IsPermutedTermYN\tLexicalTag\tRecordPreferredTermYN\n"
    "D01\tMood, Low\tM2\tT3\tSad\tN\tN\tNON\tN\n"
    "D01\tMood, Low\tM1\tT2\tLow Mood\tN\tY\tNON\tN\n"
    "D01\tMood, Low\tM2\tT4\tSadness\tY\tN\tNON\tN\n"
    "D01\tMood, Low\tM1\tT1\tMood, Low\tY\tN\tNON\tY\n"
    "D02\tIllness\tM9\tT9\tIllness\tY\tN\tNON\tY\n"
)

CTD = """\
# Report created: long ago
#
# Fields:
# DiseaseName,DiseaseID,AltDiseaseIDs,Definition,ParentIDs,TreeNumbers,ParentTreeNumbers,Synonyms
#
"Mood, low",MESH:D000002,DO:DOID:7|OMIM:600001,"Feeling ""down"".",MESH:D000001,F03.2,F03,Sad|Blue
Rare mood,OMIM:600002,,,MESH:D000002|MESH:D000001,,,
"""

GAZETTEER = """\
code\tlanguage\tterm\tsemantic_tag\tmainterm
10\tes\tataque\thallazgo\t0
10\tes\tconvulsión\thallazgo\t1
20\tes\tfiebre "alta"\ttrastorno\t1
20\tes\tfiebre\thallazgo\t0
"""

TABLE = "code\tname\tsynonyms\tgroup\tdefinition\nX:1\tSeizure\tFit|Convulsion\tFinding\tSudden.\n"

ONTOLOGY_JSON = json.dumps(
    [
        {
            "id": "C1",
            "name": "seizure",
            "aliases": ["fit"],
            "definitions": [["NCI", "Sudden."]],
            "semantic_types": ["Sign or Symptom"],
            "broader_concepts": ["finding", "unknown"],
        },
        {"id": "C2", "name": "finding", "aliases": ["finding"]},
    ]
)

LONGBEL = json.dumps(
    {
        "Disorders": {"Seizure": "C1", "Fit": "C1"},
        "Anatomy": {"Brain": "C2"},
        "Signs": {"Fit": "C1"},
    }
)

# Format: file name and content, or a directory with several files.
SOURCES: dict[str, tuple[str, str | dict[str, str]]] = {
    "obo": ("toy.obo", OBO),
    "umls": (
        "META",
        {
            **{"MRCONSO.RRF": MRCONSO, "MRSTY.RRF": MRSTY, "MRDEF.RRF": MRDEF},
            **{"MRREL.RRF": MRREL, "MRHIER.RRF": MRHIER, "MRRANK.RRF": MRRANK, "MRCUI.RRF": MRCUI},
        },
    ),
    "snomed": (
        "Edition",
        {
            "Snapshot/Terminology/sct2_Concept_Snapshot_INT_20240101.txt": CONCEPT,
            "Snapshot/Terminology/sct2_Description_Snapshot-en_INT_20240101.txt": DESCRIPTION,
            "Snapshot/Terminology/sct2_Relationship_Snapshot_INT_20240101.txt": RELATIONSHIP,
            "Snapshot/Refset/der2_cRefset_LanguageSnapshot-en_INT_20240101.txt": LANGUAGE,
            "Snapshot/Refset/der2_cRefset_AssociationSnapshot_INT_20240101.txt": ASSOCIATION,
            "Snapshot/Terminology/sct2_RelationshipConcreteValues_Snapshot_INT.txt": "not read",
            "Full/Terminology/sct2_Concept_Full_INT_20240101.txt": "not read",
        },
    ),
    "mesh": ("desc2024.xml", MESH),
    "mesh-table": ("terms.tsv", MESH_TABLE),
    "ctd": ("CTD_diseases.csv", CTD),
    "medic": ("medic.txt", MEDIC),
    "gazetteer": ("gazetteer.tsv", GAZETTEER),
    "table": ("mine.tsv", TABLE),
    "ontology-json": ("onto.json", ONTOLOGY_JSON),
    "longbel": ("text_to_code.json", LONGBEL),
}


def write_source(folder, format, *, change=lambda data: data, zipped=False):
    """Write a format's fixture below a folder; ``change`` makes other bytes of those of a file."""
    name, content = SOURCES[format]
    files = (
        {name: content}
        if isinstance(content, str)
        else {f"{name}/{k}": v for k, v in content.items()}
    )
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        data = change(text.encode("utf-8"))
        if zipped and isinstance(content, str):
            path = path.with_name(path.name + ".gz")
            data = gzip.compress(data)
        path.write_bytes(data)
    return folder / (f"{name}.gz" if zipped and isinstance(content, str) else name)
