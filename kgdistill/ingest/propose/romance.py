"""French and Spanish words of headings, files and kinds of events, and others, as the English ones known."""

from __future__ import annotations

from kgdistill.ingest.propose import northern

# By meaning, without accents; of all but those in s and x the plural too.
_TERMS = {
    "product": "produit producto",
    "article": "articulo",
    "user": "utilisateur usuario",
    "customer": "cliente acheteur comprador",
    "account": "compte cuenta",
    "id": "identifiant identificador",
    "number": "numero",
    "code": "codigo",
    "key": "clave",
    "title": "titre titulo libelle designation intitule denominacion",
    "name": "nom",
    "description": "descripcion",
    "brand": "marque marca",
    "manufacturer": "fabricant fabricante",
    "supplier": "fournisseur proveedor",
    "category": "categorie categoria",
    "subcategory": "subcategoria",
    "price": "prix precio",
    "quantity": "quantite cantidad",
    "qty": "qte",
    "units": "unidades",
    "amount": "montant importe",
    "discount": "remise descuento",
    "vat": "tva iva",
    "shipping": "livraison",
    "order": "commande pedido",
    "invoice": "facture factura",
    "purchase": "achat compra",
    "sale": "vente venta",
    "time": "heure hora",
    "date": "fecha",
    "day": "jour dia",
    "start": "debut inicio",
    "end": "fin",
    "sent": "envoi envoye",
    "search": "recherche busqueda",
    "query": "requete consulta",
    "term": "terme termino",
    "campaign": "campagne campana",
    "review": "avis resena",
    "comment": "commentaire comentario",
    "rating": "valoracion",
    "stars": "etoiles estrellas",
    "score": "puntuacion",
    "text": "texte texto",
    "message": "mensaje",
    "question": "pregunta",
    "answer": "reponse respuesta",
    "topic": "sujet tema",
    "color": "couleur",
    "size": "taille talla",
    "material": "matiere",
    "event": "evenement evento",
    "view": "vue vista visto",
    "click": "clic",
    "clicked": "clique cliquee clicado clicada",
    "cart": "panier carrito",
    "favorite": "favori favorito",
    "cancelled": "annule annulee cancelado cancelada anulado anulada",
    "pending": "pendiente attente",
    "status": "statut estado",
    "draft": "brouillon borrador",
    "archived": "archivado archivada",
    "inactive": "inactif inactivo inactiva",
    "published": "publie publicado publicada",
    "firstname": "prenom",
    "lastname": "apellido",
    "telephone": "telefono",
    "email": "courriel correo",
    "address": "direccion",
    "birth": "naissance nacimiento",
    "age": "edad",
}  # fmt: skip
# What stands for itself only beside another.
_PHRASES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("mot", "cle"): ("keyword",),
    ("palabra", "key"): ("keyword",),
    ("ajout", "cart"): ("add", "to", "cart"),
    ("reference", "clicked"): ("clicked", "product"),
    ("product", "clicked"): ("clicked", "product"),
    ("article", "clicked"): ("clicked", "product"),
    ("reference", "product"): ("product", "id"),
    ("reference", "article"): ("product", "id"),
    ("ref", "product"): ("product", "id"),
    ("ref", "article"): ("product", "id"),
    ("name", "client"): ("client", "name"),
    ("nombre", "customer"): ("customer", "name"),
}
# Which of those begin as no English name does, or a French one does too.
_FIRST = (("mot",), ("ref",), ("reference",))
_PARTICLES = frozenset("a au aux d de del des du el en l la las le les los".split())  # noqa: SIM905
_PARTICLES |= frozenset(northern.PARTICLES.split())


def _plural(word: str) -> str:
    if word.endswith("s"):
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}{'es' if word.endswith('ch') else 's'}"


_MEANING = {term: english for english, terms in _TERMS.items() for term in terms.split()}
_MEANING |= {
    term + end: _plural(english)
    for term, english in _MEANING.items()
    for end in ("s", "es")
    if term[-1] not in "sx"
}
_MEANING |= {
    "opiniones": "opinions",
    "referencia": "reference",
    "references": "reference",
    "referencias": "reference",
}


_MEANING |= {term: english for english, terms in northern.TERMS.items() for term in terms.split()}


def is_meant(word: str) -> bool:
    """Whether a word of these languages is known as a whole."""
    return word in _MEANING


def as_english(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a name with those of these languages in English, without the particles between."""
    meant = tuple(_MEANING.get(word, word) for word in words)
    if northern.DATE in words and (len(words) == 1 or meant != words):
        meant = tuple("date" if word == northern.DATE else word for word in meant)
    if meant == words and words[:1] not in _FIRST:
        return words
    plain = tuple(word for word in meant if word not in _PARTICLES)
    return (*_PHRASES.get(plain[:2], plain[:2]), *plain[2:])
