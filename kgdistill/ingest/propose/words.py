"""The words by which columns are recognised."""

from __future__ import annotations

import re
import unicodedata

from kgdistill.ingest.propose.eastern import pieces
from kgdistill.ingest.propose.northern import PARTS
from kgdistill.ingest.propose.romance import as_english, is_meant

USER = (
    "user customer cust client member household reviewer buyer shopper visitor kunde kunden nutzer benutzer"
)
USER += " haushalt kaeufer besteller account"
PRODUCT = "product item article artikel produkt sku asin stock ware material ean gtin upc docid doc listing"
ID = "id nr no num number nummer code key sku asin upc ean gtin uuid guid docid"
TIME = (
    "time ts date timestamp epoch unixtime datum zeit zeitpunkt zeitstempel "
    "at day tag dat when created ordered purchased"
)
# Such a time is planned, and may lie ahead.
END = "end ends ende until bis enddate endtime enddatum endzeit"
QUANTITY = "quantity qty menge anzahl stueck stueckzahl units count pieces amountunits"
AMOUNT = "amount total sales revenue umsatz betrag summe spend spent paid gesamtpreis turnover gmv value"
PRICE = "price preis einzelpreis stueckpreis unitprice cost"
RATING = "rating stars overall sterne bewertung score note nota"
GRADE = "label grade relevance judgement judgment gain relevanz rating"
TITLE = "title titel name nombre bezeichnung produktname artikelname artikelbezeichnung"
ABOUT = "description desc beschreibung details text produktbeschreibung"
BRAND = (
    "brand brands marke marken manufacturer manufacturers hersteller maker vendor vendors supplier lieferant"
)
CATEGORY = "category categories kategorie kategorien warengruppe department abteilung genre genres section"
CATEGORY += " hierarchy sortiment produktgruppe productgroup"
ORDER = "order invoice basket bestellung bestell auftrag rechnung transaction bon receipt session"
QUERY = "query search keyword suche suchbegriff suchanfrage searchterm term"
QUESTION = "question frage utterance enquiry inquiry anfrage"
ANSWER = "answer antwort reply response template"
INTENT = "intent absicht anliegen"
STATEMENT = "review comment statement feedback opinion kommentar rezension bewertungstext tweet post headline"
TEXT = "text sentence content body message nachricht inhalt"
SENTIMENT = "sentiment polarity mood tonality stimmung emotion"
TOPIC = "topic thema aspect"
PART = "split subset"
EVENT = "event action aktion ereignis interaction verhalten behavior behaviour"
ATTRIBUTE = "color colour size farbe groesse material packagesize style features"
PERSONAL = "email mail phone telephone telefon tel mobile handy firstname lastname vorname nachname surname"
IMAGE = "image images img picture photo thumbnail bild foto"
BIRTH = "birth birthday geburt geburtsdatum geburtstag"
PERSONAL += f" address adresse strasse street zip postal postcode postleitzahl plz {BIRTH}"
PERSONAL += " iban ip fullname reviewername username nickname idcard"
# What tells people apart where nothing else does: hashed, it serves as their id.
HANDLE = "email mail nickname username"
NO_NUMBER = "discount disc rabatt tax steuer vat mwst shipping versand freight fracht id nr code average avg"
NO_NUMBER += " time date"

# Of two words together; longer text is no name.
_LONGEST = 30
_NUMBER_SIGN = re.compile(r"\b[nN]°")
_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ł": "l", "Ł": "L"}


def words(name: str) -> tuple[str, ...]:
    """The words of a name: CustomerID and customer-id are customer, id; so are 客户编号 and cliente_id."""
    return tuple(word for piece, known in pieces(name) for word in known or _latin(piece))


def _latin(spelled: str) -> tuple[str, ...]:
    for letter, letters in _UMLAUTS.items():
        spelled = spelled.replace(letter, letters)
    spelled = _NUMBER_SIGN.sub("no ", spelled)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", plain)
    return as_english(tuple(word for part in parts for word in _split(part.lower())))


def _split(word: str) -> tuple[str, ...]:
    """Two words that are written as one where both are known: itemid is item, id."""
    if word not in _ALL and len(word) <= _LONGEST and not is_meant(word):
        for i in range(3, len(word) - 1):
            if word[:i] in _PIECES and word[i:] in _PIECES:
                return word[:i], word[i:]
    return (word,)


_ALL = frozenset(
    " ".join(
        (
            USER,
            PRODUCT,
            ID,
            TIME,
            QUANTITY,
            AMOUNT,
            PRICE,
            RATING,
            GRADE,
            TITLE,
            ABOUT,
            BRAND,
            CATEGORY,
            QUERY,
            QUESTION,
            ANSWER,
            INTENT,
            STATEMENT,
            TEXT,
            SENTIMENT,
            TOPIC,
            PART,
            EVENT,
            ATTRIBUTE,
            PERSONAL,
        )
    ).split()
)


_PIECES = _ALL | PARTS


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


def singular(word: str) -> str:
    """A word without the sign of several: of products, Produkte and Waren."""
    return word[:-1] if word[-1:] in ("s", "e", "n") else word


def is_known(some: tuple[str, ...]) -> bool:
    """Whether a name with these words says what it is of; a Chinese one with an unknown part does not."""
    if not all(word.isascii() for word in some):
        return False
    return any(word in _ALL for word in some) or "".join(some) in _ALL
