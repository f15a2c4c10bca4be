"""What a language model is told, in the languages of SynCABEL (arXiv 2601.19667)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """The words of a prompt.

    prefix, colon: what every line of an answer begins with, and what stands behind that. rules: the
    task, with places for {n}, {shortest}, {longest} and {line}. shortest, longest: words of a
    sentence as the task asks for. worked: concepts, as `spacy_bel.synthesis.prompt.describe` shows
    them, with sentences that mention them. heading_worked, heading_style: what stands above those,
    of {lines} lines each, and above sentences of the user's. code, title, group, definition, names:
    labels of what is said of a concept. quotes: around its names.
    """

    prefix: str
    colon: str
    rules: str
    shortest: int
    longest: int
    heading_worked: str
    worked: tuple[tuple[str, tuple[str, ...]], ...]
    heading_style: str
    code: str
    title: str
    group: str
    definition: str
    names: str
    quotes: tuple[str, str] = ('"', '"')

    @property
    def line(self) -> str:
        """What a line of an answer begins with."""
        return f"{self.prefix}{self.colon} "


ENGLISH = Language(
    prefix="example",
    colon=":",
    shortest=15,
    longest=30,
    rules="""\
You write practice sentences for a program that links mentions in biomedical texts to the entries \
of a terminology. You get one entry, a concept. Answer with {n} sentences that mention it.

How to mention the concept
- Use {n} different wordings that physicians or researchers would use in a text: one of the names, \
a shorter or longer form of it, another inflection or word order, or a paraphrase.
- Each wording has to mean this very concept, not a broader, narrower or merely related one.
- A wording has no commas, no parentheses, no chemical formulas, no words in capitals throughout \
and no words of another language.

How to write the sentences
- Each is one complete sentence of {shortest} to {longest} words.
- Each is set in another situation, and tells enough for a reader to see which concept is meant. \
None of them explains what the concept is.
- Put the wording in square brackets, once in each sentence. Use no other brackets, and do not \
repeat the wording outside of them.

How to answer
- Answer with {n} lines. Each begins with "{line}", and the sentence follows.
- Write nothing else: no introduction, no numbers, no remarks, no code of the concept.""",
    heading_worked="Two worked examples, with {lines} lines each:",
    worked=(
        (
            "Code: EX:0041\nTitle: Tension-type headache\nGroup: Disorders\n"
            "Definition: A headache that is felt as dull pressure on both sides of the head.\n"
            'Names: "Tension-type headache", "Muscle contraction headache"',
            (
                "After three weeks of night shifts she came back with a dull [tension headache] "
                "that pressed on both temples until evening.",
                "Relaxation training lowered the number of days per month on which patients with "
                "[tension-type headaches] needed a painkiller.",
                "The neurologist ruled out migraine and explained that his [headache from muscle "
                "contraction] would ease once he slept more.",
            ),
        ),
        (
            "Code: EX:0977\nTitle: Gastric emptying\nGroup: Physiology\n"
            'Names: "Gastric emptying", "Emptying of stomach"',
            (
                "Scintigraphy four hours after the test meal showed that [gastric emptying] was "
                "clearly slower than in healthy volunteers of the same age.",
                "Because the drug delays [emptying of the stomach], tablets that were swallowed "
                "later reached the small bowel only in the afternoon.",
                "Ultrasound before anaesthesia is used more and more often to judge [stomach "
                "emptying] in children who have drunk clear fluids.",
            ),
        ),
    ),
    heading_style="Write in the style of these sentences, but do not copy them:",
    code="Code",
    title="Title",
    group="Group",
    definition="Definition",
    names="Names",
)

FRENCH = Language(
    prefix="exemple",
    colon=" :",
    shortest=15,
    longest=30,
    rules="""\
Tu rédiges des phrases d'entraînement pour un programme qui relie les mentions des textes \
biomédicaux aux entrées d'une terminologie. On te donne une entrée, un concept. Réponds par {n} \
phrases en français qui le mentionnent.

Comment nommer le concept
- Emploie {n} formulations différentes, telles que des médecins ou des chercheurs les écriraient : \
un des noms, une forme plus courte ou plus longue, une autre flexion, un autre ordre des mots ou \
une périphrase.
- Chaque formulation désigne exactement ce concept, et non un concept plus large, plus étroit ou \
seulement voisin.
- Une formulation ne contient ni virgule, ni parenthèse, ni formule chimique, ni mot tout en \
majuscules, ni mot d'une autre langue.

Comment écrire les phrases
- Chacune est une phrase complète de {shortest} à {longest} mots.
- Chacune a sa propre situation et en dit assez pour qu'on reconnaisse le concept. Aucune \
n'explique ce qu'il est.
- Mets la formulation entre crochets, une seule fois par phrase. N'emploie pas d'autres crochets \
et ne répète pas la formulation en dehors.

Comment répondre
- Réponds par {n} lignes. Chacune commence par « {line}», puis vient la phrase.
- N'écris rien d'autre : ni introduction, ni numéro, ni remarque, ni code du concept.""",
    heading_worked="Deux exemples résolus, de {lines} lignes chacun :",
    worked=(
        (
            "Code : EX:0041\nTitre : Céphalée de tension\nGroupe : Maladies\n"
            "Définition : Mal de tête ressenti comme une pression sourde des deux côtés du crâne.\n"
            "Noms : « Céphalée de tension », « Céphalée par contraction musculaire »",
            (
                "Après trois semaines de gardes de nuit elle se plaignait d'une [céphalée de "
                "tension] qui serrait les deux tempes jusqu'au soir.",
                "La relaxation a réduit le nombre de jours où les patients souffrant de [maux de "
                "tête de tension] prenaient un antalgique.",
                "Le neurologue a écarté une migraine et attribué la [céphalée par contraction "
                "musculaire] au manque de sommeil des derniers mois.",
            ),
        ),
        (
            "Code : EX:0977\nTitre : Vidange gastrique\nGroupe : Physiologie\n"
            "Noms : « Vidange gastrique », « Évacuation de l'estomac »",
            (
                "La scintigraphie réalisée quatre heures après le repas montrait une [vidange "
                "gastrique] nettement plus lente que chez les témoins du même âge.",
                "Comme ce médicament retarde la [vidange de l'estomac], les comprimés avalés plus "
                "tard n'ont atteint l'intestin que dans l'après-midi.",
                "L'échographie avant l'anesthésie sert de plus en plus à apprécier l'[évacuation "
                "gastrique] des enfants qui ont bu un liquide clair.",
            ),
        ),
    ),
    heading_style="Écris dans le style de ces phrases, sans les recopier :",
    code="Code ",
    title="Titre ",
    group="Groupe ",
    definition="Définition ",
    names="Noms ",
    quotes=("« ", " »"),
)

SPANISH = Language(
    prefix="ejemplo",
    colon=":",
    shortest=10,
    longest=25,
    rules="""\
Escribes frases de práctica para un programa que enlaza las menciones de textos biomédicos con las \
entradas de una terminología. Recibes una entrada, un concepto. Responde con {n} frases en español \
que lo mencionen.

Cómo nombrar el concepto
- Usa {n} formas distintas, tal como las escribirían médicos o investigadores: uno de los nombres, \
una forma más corta o más larga, otra flexión, otro orden de palabras o una perífrasis.
- Cada forma significa exactamente este concepto, y no uno más amplio, más estrecho o solo \
relacionado.
- Una forma no lleva comas, ni paréntesis, ni fórmulas químicas, ni palabras escritas enteras en \
mayúsculas, ni palabras de otro idioma.

Cómo escribir las frases
- Cada una es una frase completa de {shortest} a {longest} palabras.
- Cada una sucede en otra situación y dice lo bastante para reconocer el concepto. Ninguna explica \
qué es.
- Pon la forma entre corchetes, una sola vez en cada frase. No uses otros corchetes ni repitas la \
forma fuera de ellos.

Cómo responder
- Responde con {n} líneas. Cada una empieza por «{line}», y detrás va la frase.
- No escribas nada más: ni introducción, ni números, ni comentarios, ni el código del concepto.""",
    heading_worked="Dos ejemplos resueltos, de {lines} líneas cada uno:",
    worked=(
        (
            "Código: EX:0041\nTítulo: Cefalea tensional\nGrupo: Enfermedades\n"
            "Definición: Dolor de cabeza que se siente como una presión sorda a ambos lados.\n"
            'Nombres: "Cefalea tensional", "Cefalea por contracción muscular"',
            (
                "Tras tres semanas de turnos de noche volvió con una [cefalea tensional] que le "
                "apretaba ambas sienes.",
                "La relajación redujo los días en que los pacientes con [dolor de cabeza "
                "tensional] necesitaban un analgésico.",
                "El neurólogo descartó una migraña y atribuyó la [cefalea por contracción "
                "muscular] a la falta de sueño.",
            ),
        ),
        (
            "Código: EX:0977\nTítulo: Vaciamiento gástrico\nGrupo: Fisiología\n"
            'Nombres: "Vaciamiento gástrico", "Evacuación del estómago"',
            (
                "La gammagrafía mostró cuatro horas después de la comida un [vaciamiento "
                "gástrico] claramente más lento que en los controles.",
                "Como el fármaco retrasa el [vaciamiento del estómago], los comprimidos llegaron "
                "al intestino por la tarde.",
                "La ecografía antes de la anestesia permite valorar la [evacuación gástrica] de "
                "los niños que han bebido líquidos claros.",
            ),
        ),
    ),
    heading_style="Escribe en el estilo de estas frases, sin copiarlas:",
    code="Código",
    title="Título",
    group="Grupo",
    definition="Definición",
    names="Nombres",
)

LANGUAGES = {"en": ENGLISH, "fr": FRENCH, "es": SPANISH}
