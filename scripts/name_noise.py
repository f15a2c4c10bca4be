"""Names disturbed the way clinicians disturb them: spelling, word order, words swapped."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPELLINGS = (
    ("aemia", "emia"), ("aem", "em"), ("oedema", "edema"), ("oeso", "eso"), ("paed", "ped"),
    ("haem", "hem"), ("anaes", "anes"), ("tumour", "tumor"), ("colour", "color"),
    ("behaviour", "behavior"), ("fibre", "fiber"), ("centre", "center"), ("rrhoea", "rrhea"),
    ("gynaec", "gynec"), ("orthopae", "orthope"), ("leuk", "leuc"), ("isation", "ization"),
    ("faec", "fec"), ("caec", "cec"), ("coel", "cel"), ("foet", "fet"), ("sulph", "sulf"),
)  # fmt: skip
WORDS = (
    ("kidney", "renal"), ("liver", "hepatic"), ("heart", "cardiac"), ("lung", "pulmonary"),
    ("brain", "cerebral"), ("stomach", "gastric"), ("skin", "cutaneous"), ("eye", "ocular"),
    ("nose", "nasal"), ("ear", "aural"), ("mouth", "oral"), ("teeth", "dental"),
    ("bone", "osseous"),
    ("muscle", "muscular"), ("blood", "serum"), ("vessel", "vascular"), ("nerve", "neural"),
    ("chest", "thoracic"), ("finger", "digit"), ("hand", "manual"), ("foot", "pedal"),
    ("increased", "elevated"), ("increased", "high"), ("increased", "raised"),
    ("decreased", "reduced"), ("decreased", "low"), ("decreased", "diminished"),
    ("absent", "missing"), ("absent", "lack of"), ("absence of", "lack of"), ("absent", "no"),
    ("abnormal", "anomalous"), ("abnormality of", "abnormal"), ("abnormality of", "anomaly of"),
    ("abnormality of", "problem with"), ("abnormal", "atypical"), ("small", "hypoplastic"),
    ("underdeveloped", "hypoplastic"), ("hypoplasia of", "small"),
    ("hypoplasia of", "underdeveloped"),
    ("aplasia of", "absent"), ("large", "big"), ("large", "enlarged"), ("short", "shortened"),
    ("wide", "broad"), ("wide", "broadened"), ("thin", "slender"), ("narrow", "thin"),
    ("tumor", "neoplasm"), ("neoplasm", "cancer"), ("carcinoma", "cancer"), ("delayed", "late"),
    ("delayed", "delay in"), ("impaired", "defective"), ("impaired", "poor"), ("weakness", "weak"),
    ("pain", "ache"), ("inflammation", "swelling"), ("infection", "infections"),
    ("level", "levels"),
    ("concentration", "level"), ("circulating", "serum"), ("circulating", "plasma"),
    ("upper limb", "arm"), ("lower limb", "leg"), ("child", "childhood"), ("frequent", "recurrent"),
    ("recurrent", "repeated"), ("progressive", "worsening"), ("paralysis", "palsy"),
    ("loss", "decrease"), ("deficiency", "lack"), ("defect", "anomaly"), ("disorder", "disease"),
    ("multiple", "many"), ("bilateral", "both sided"), ("involuntary", "uncontrolled"),
    ("duplication", "double"), ("fused", "fusion of"), ("crowded", "crowding of"),
    ("abnormality", "abnormalities"), ("malformation", "anomaly"), ("swallowing", "deglutition"),
    ("walking", "gait"), ("seizure", "fit"), ("seizures", "convulsions"), ("vision", "sight"),
    ("visual", "vision"), ("hearing", "auditory"), ("intellectual", "mental"),
    ("gut", "intestinal"),
)  # fmt: skip
MODIFIERS = ("mild", "severe", "marked", "slight", "possible", "new", "known", "persistent", "some")


def fold(text: str) -> str:
    """Comparison key of a name: case and whitespace do not count."""
    return " ".join(text.lower().split())


def _pick(items: Sequence[str], rng: random.Random) -> int:
    return rng.randrange(len(items))


def _typo(text: str, rng: random.Random) -> str:
    at = _pick(text, rng)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + rng.choice(LETTERS) + text[at:]
    if kind == 2:
        return text[:at] + rng.choice(LETTERS) + text[at + 1 :]
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


def _plural(text: str, rng: random.Random) -> str:
    words = text.split()
    at = len(words) - 1 if rng.random() < 0.8 else _pick(words, rng)
    word = words[at]
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    elif word.endswith("y") and len(word) > 2 and word[-2] not in VOWELS:
        word = word[:-1] + "ies"
    elif word.endswith("is"):
        word = word[:-2] + "es"
    else:
        word += "s"
    return " ".join([*words[:at], word, *words[at + 1 :]])


def _invert(text: str, rng: random.Random) -> str:
    """Move a part across a comma or an "of", or split at a word."""
    if ", " in text:
        head, tail = text.split(", ", 1)
        return f"{tail} {head}"
    if " of the " in text:
        head, tail = text.split(" of the ", 1)
        return f"{tail} {head}"
    if " of " in text:
        head, tail = text.split(" of ", 1)
        return f"{tail} {head}"
    words = text.split()
    if len(words) < 2:
        return text
    at = rng.randrange(1, len(words))
    head, tail = " ".join(words[:at]), " ".join(words[at:])
    return rng.choice((f"{tail}, {head}", f"{tail} of {head}", f"{tail} of the {head}"))


def _hyphen(text: str, rng: random.Random) -> str:
    spots = [i for i, c in enumerate(text) if c in " -"]
    if not spots:
        return text
    at = rng.choice(spots)
    return text[:at] + rng.choice((" ", "-", "")) + text[at + 1 :]


def _drop(text: str, rng: random.Random) -> str:
    words = text.split()
    if len(words) < 3:
        return text
    del words[_pick(words, rng)]
    return " ".join(words)


def _shuffle(text: str, rng: random.Random) -> str:
    words = text.replace(",", "").split()
    rng.shuffle(words)
    return " ".join(words)


def _swap(
    table: Sequence[tuple[str, str]], whole_words: bool
) -> Callable[[str, random.Random], str]:
    def noise(text: str, rng: random.Random) -> str:
        edge = " " if whole_words else ""
        padded = f" {text} "
        fits = [
            (a, b) for pair in table for a, b in (pair, pair[::-1]) if f"{edge}{a}{edge}" in padded
        ]
        if not fits:
            return text
        old, new = rng.choice(fits)
        return padded.replace(f"{edge}{old}{edge}", f"{edge}{new}{edge}", 1)

    return noise


def _modifier(text: str, rng: random.Random) -> str:
    return f"{rng.choice(MODIFIERS)} {text}"


def _initials(text: str, rng: random.Random) -> str:
    words = [w for w in text.replace("-", " ").split() if w not in ("of", "the", "and", "in")]
    return "".join(w[0] for w in words) if len(words) >= 3 else text


def _cut_suffix(text: str, rng: random.Random) -> str:
    """Another ending of the same stem, such as dysplasia and dysplastic."""
    words = text.split()
    at = _pick(words, rng)
    for old, new in (
        ("ic", "ia"), ("ia", "ic"), ("al", ""), ("ity", ""), ("ed", "ing"), ("ing", "ed"),
        ("ous", ""), ("osis", "otic"), ("otic", "osis"), ("tion", "ted"), ("ar", ""), ("y", "ic"),
    ):  # fmt: skip
        if words[at].endswith(old) and len(words[at]) > len(old) + 3:
            words[at] = words[at][: -len(old)] + new
            break
    return " ".join(words)


_word_swap, _spelling_swap = _swap(WORDS, True), _swap(SPELLINGS, False)
NOISES: tuple[tuple[Callable[[str, random.Random], str], float], ...] = (
    (_typo, 2.0), (_plural, 2.0), (_invert, 2.0), (_hyphen, 1.0), (_drop, 1.5), (_shuffle, 1.0),
    (_word_swap, 3.0), (_spelling_swap, 1.0), (_modifier, 0.7), (_initials, 0.2),
    (_cut_suffix, 1.0),
)  # fmt: skip


def disturb(name: str, rng: random.Random) -> str:
    """A name as it might be written in a note: one to three changes."""
    text = fold(name)
    functions, weights = zip(*NOISES, strict=True)
    for noise in rng.choices(functions, weights, k=rng.choice((1, 1, 1, 2, 2, 3))):
        text = " ".join(noise(text, rng).split()) or text
    return text
