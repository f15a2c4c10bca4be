"""Says how to get a licensed terminology where it is not there.

python scripts/licensed.py umls|snomed FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

HOW = {
    "umls": (
        "MRCONSO.RRF*",
        "UMLS is licensed. Get a free account at https://uts.nlm.nih.gov, download the full "
        "release or a subset made with MetamorphoSys, and name its META folder: "
        "`python -m spacy project run kb-umls . --vars.umls /data/2024AB/META`.",
    ),
    "snomed": (
        "**/sct2_Description_*.txt*",
        "SNOMED CT is licensed. Get an RF2 release from the release centre of your country, or "
        "from https://mlds.ihtsdotools.org, unpack it and name its folder: "
        "`python -m spacy project run kb-snomed . --vars.snomed /data/SnomedCT_Edition`.",
    ),
}


def main() -> None:
    """Exit with a message if the folder does not hold the terminology."""
    if len(sys.argv) != 3 or sys.argv[1] not in HOW:
        sys.exit(__doc__)
    pattern, how = HOW[sys.argv[1]]
    folder = Path(sys.argv[2])
    if not folder.is_dir() or not any(folder.glob(pattern)):
        sys.exit(f"{folder} holds no {pattern.rpartition('/')[2]}. {how}")


if __name__ == "__main__":
    main()
