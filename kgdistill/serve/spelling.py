"""Slips of the keyboard in a query: a word that nothing knows gives way to the nearest that is known."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from kgdistill.serve.answer import Correction
from kgdistill.tasks.words import TextWord
from kgdistill.words import paired

# As shops' search engines have it: one slip from four letters on, two from eight.
_ONE, _TWO = 4, 8
_LONGEST = 40
# A text with more unknown words than that is of another language, not mistyped.
_MOST = 5
# In a word of up to so many letters another first one makes another word: hardly anybody mistypes it.
_FIRST = 5
# Small words of several languages, folded: a catalogue may lack them, and they are nothing's slip.
_SMALL = re.compile(
    # English and German
    "about|after|before|from|have|into|less|like|more|some|that|this|under|what|which|with|without|your|"
    "aber|aller|alles|auch|beim|bitte|dass|dein|dem|denn|diese|diesem|diesen|dieser|dieses|durch|eine|einem|"
    "einen|einer|eines|etwas|fuer|gegen|guenstig|haben|hochstens|ihre|immer|kein|keine|mehr|mein|meine|"
    "mindestens|mochte|nach|nicht|noch|oder|ohne|sehr|sein|seine|sich|sind|suche|uber|unter|viel|weniger|"
    "wenn|wird|zwischen|zum|"
    # Dutch and Polish
    "alle|alles|bij|boven|daar|deze|door|geen|goed|goede|haar|heel|hoogstens|iets|maar|maximaal|meer|mijn|"
    "minder|minstens|naar|niet|onder|onze|over|tegen|toch|tussen|uit|vanaf|veel|voor|waar|want|wordt|zeer|"
    "zijn|zoek|zonder|"
    "albo|bardzo|bedzie|byla|bylo|czyli|dobra|dobry|gdzie|jako|jest|jestem|kiedy|ktora|ktore|ktory|lecz|"
    "maja|miedzy|mniej|moja|moje|najmniej|najwyzej|oraz|ponad|ponizej|powyzej|przed|przez|przy|sobie|szukam|"
    "taki|takie|tego|tych|tylko|wiecej|wszystko|"
    # French and Spanish
    "algo|algun|alguna|alors|aussi|avec|avoir|cada|cette|chez|comme|como|cual|cuando|dans|depuis|"
    "desde|donde|ella|ellas|elle|elles|ellos|entre|esta|estas|este|estos|etre|hasta|jusqu|jusque|"
    "leur|leurs|mais|maximo|maximum|mejor|meme|menos|minimo|minimum|moins|mucho|nada|notre|nous|otra|"
    "otro|para|partir|pero|plus|porque|pour|quel|quelle|sans|segun|sobre|solo|sont|sous|tiene|toda|"
    "todas|todo|todos|tous|tout|toute|toutes|tres|unas|unos|votre|vous|"
    # What is best of all, in each of them
    "best|beste|besten|bester|bestes|meilleur|meilleure|meilleures|meilleurs|mejores|najlepsza|najlepsze|"
    "najlepszy|"
    # Those too short to be a slip, of which nobody wants to hear that no item has them
    "a|an|and|any|are|as|at|be|but|by|can|do|does|for|how|i|if|in|is|it|its|me|my|no|not|of|on|or|our|so|the|"
    "to|up|us|was|we|who|why|you|"
    "ab|als|am|auf|aus|bei|bis|da|das|dem|den|der|des|die|ein|er|es|fur|ich|ihr|im|ist|ja|man|mir|mit|nur|ob|"
    "um|und|uns|vom|von|vor|war|was|wie|wir|wo|zu|zur|"
    "al|dan|dat|de|dit|een|en|er|het|ik|je|met|nog|om|op|te|tot|van|wat|wie|zo|"
    "aby|ale|bo|byc|co|czy|dla|ich|jak|ma|mi|na|nad|nie|o|od|po|pod|sa|sie|ta|tej|ten|tu|w|z|za|ze|"
    "au|aux|ce|ces|d|du|est|et|il|ils|l|la|le|les|mes|mon|ne|ni|nos|ou|par|pas|que|qui|se|ses|si|son|sur|"
    "tes|ton|un|une|vos|y|"
    "con|del|el|ha|las|lo|los|mas|mis|muy|os|por|sin|su|sus|una|ya"
)


def is_small(typed: str) -> bool:
    """Whether a folded word is one of those that hold a sentence together, and say nothing of an item."""
    return _SMALL.fullmatch(typed) is not None


class Spelling:
    """The words that can be meant.

    Args:
        words: each with how many items hold it.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        self._held = dict(words)
        self._by_length: dict[int, list[str]] = defaultdict(list)
        for word in self._held:
            if _is_word(word):
                self._by_length[len(word)].append(word)

    def nearest(self, word: str) -> str | None:
        """The known word that was most likely meant; None where there is none, or the word is known.

        Of those with the fewest slips (a letter left out, put in, changed, or two exchanged: optimal string
        alignment, Damerau 1964) one that begins alike, then the one that most items hold. Words with a digit,
        short ones and those of scripts without blanks are left alone; to a word of up to five letters none is
        near that begins otherwise, but where the first two letters were exchanged.
        """
        if word in self._held or not _is_word(word) or not _ONE <= len(word) <= _LONGEST:
            return None
        # Loaded here, as few queries need it: a bundle's first answer is to come soon.
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        most = 1 if len(word) < _TWO else 2
        lengths = range(len(word) - most, len(word) + most + 1)
        near = [w for n in lengths for w in self._by_length.get(n, ())]
        if len(word) <= _FIRST:
            near = [other for other in near if other[0] == word[0] or other[:2] == word[1::-1]]
        found = process.extract(word, near, scorer=OSA.distance, score_cutoff=most, limit=None)
        best = min(
            ((slips, other[0] != word[0], -self._held[other], other) for other, slips, _ in found),
            default=None,
        )
        return best[-1] if best is not None else None


def corrected(text: str, words: list[TextWord], spelling: Spelling) -> tuple[str, tuple[Correction, ...]]:
    """A text with its unknown words corrected as far as they can be, but small ones; of more than five none.

    Args:
        text: folded, as the words were cut from it.
        words: the unknown ones.
        spelling: what can be meant.
    """
    distinct = {word.typed: word.word for word in words}
    if len(distinct) > _MOST:
        return text, ()
    meant = ((typed, spelling.nearest(word)) for typed, word in distinct.items() if not is_small(typed))
    found = {typed: word for typed, word in meant if word is not None}
    if not found:
        return text, ()
    either = "|".join(map(re.escape, sorted(found, key=len, reverse=True)))
    text = re.sub(either, lambda m: found[m[0]] if _stands_alone(text, m) else m[0], text)
    return text, tuple(Correction(typed, meant) for typed, meant in found.items())


def _is_word(word: str) -> bool:
    return word.isalpha() and not paired(word)


def _stands_alone(text: str, found: re.Match[str]) -> bool:
    """Whether no letter or digit that belongs to the word is beside it."""
    beside = (text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1])
    return not any(c.isalnum() and not paired(c) for c in beside if c)
