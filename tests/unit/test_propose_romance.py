"""Files of French, Spanish, Dutch and Polish shops: what their headings say is known as English ones are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kgdistill.ingest.mapping.load import parse_mapping
from kgdistill.ingest.propose.propose import preview, propose
from kgdistill.ingest.propose.words import words
from kgdistill.store.schema import load_schema

SCHEMA = load_schema()
FRENCH = {
    "produits.csv": "référence;désignation;marque;catégorie;prix;couleur;taille;matière\n"
    "R1;Robe Lucía;Zarina;Femme > Robes;12,50 €;rouge;S, M;coton\n"
    "R2;Jupe;Lunar;Femme > Jupes;22,50 €;bleu;M;soie\n",
    "clients.csv": "n° client;prénom;nom;e-mail;date d'inscription\n"
    "C1;Zoé;Dupré;c1@exemple.fr;01/07/2024\nC2;José;Dupré;c2@exemple.fr;22/03/2024\n",
    "commandes.csv": "n° commande;n° client;référence;quantité;date de commande\n"
    "1;C1;R1;1;13/04/2025 23:30\n2;C2;R2;2;15/06/2025 00:15\n",
    "retours.csv": "n° client;référence;taille;quantité;date de retour;motif\n"
    "C1;R1;S;1;20/04/2025 10:00;petit\n",
    "recherches.csv": "date;n° client;terme recherché;référence cliquée\n"
    "13/11/2025 02:31;C1;jupe noire;R2\n14/08/2025 18:29;C2;robe;R1\n",
    "campagnes.csv": "code campagne;libellé;date d'envoi;date de fin\n"
    "M1;Nouveautés;01/12/2024 09:00;13/12/2024\nM2;Soldes;13/12/2024 09:00;22/12/2024\n",
    "envois.csv": "code campagne;n° client;envoyé le;ouvert\n"
    "M1;C1;13/12/2024 09:00;oui\nM1;C2;13/12/2024 09:00;non\n",
    "avis.csv": "id_avis;client;référence;note;commentaire;date\n"
    "A1;C1;R1;4/5;Très belle matière;2025-11-13\nA2;C2;R2;2/5;Matière qui gratte;2025-11-14\n",
}
SPANISH = {
    "productos.csv": "referencia;nombre;marca;categoría;precio;color;talla;material\n"
    "R1;Vestido Lucía;Zarina;Mujer > Vestidos;12,50 €;rojo;S, M;algodón\n"
    "R2;Falda;Lunar;Mujer > Faldas;22,50 €;azul;M;seda\n",
    "clientes.csv": "nº cliente;nombre;apellidos;correo;fecha de alta\n"
    "C1;Zoé;Pérez;c1@ejemplo.es;01/07/2024\nC2;José;Gil;c2@ejemplo.es;22/03/2024\n",
    "pedidos.csv": "nº de pedido;nº cliente;referencia;cantidad;fecha del pedido\n"
    "1;C1;R1;1;13/04/2025 23:30\n2;C2;R2;2;15/06/2025 00:15\n",
    "devoluciones.csv": "nº cliente;referencia;talla;cantidad;fecha;motivo\n"
    "C1;R1;S;1;20/04/2025 10:00;pequeño\n",
    "búsquedas.csv": "fecha;nº cliente;búsqueda;referencia\n"
    "13/11/2025 02:31;C1;falda negra;R2\n14/08/2025 18:29;C2;vestido;R1\n",
    "campañas.csv": "campaña;título;fecha de inicio;fecha de fin\n"
    "M1;Novedades;01/12/2024;13/12/2024\nM2;Rebajas;13/12/2024;22/12/2024\n",
    "envíos.csv": "campaña;nº cliente;fecha de envío\nM1;C1;13/12/2024 09:00\nM1;C2;13/12/2024 09:00\n",
    "opiniones.csv": "id opinión;cliente;referencia;valoración;comentario;fecha\n"
    "A1;C1;R1;4/5;Muy bonito;2025-11-13\nA2;C2;R2;2/5;La tela pica;2025-11-14\n",
}


DUTCH = {
    "artikelen.csv": "Artikelnummer;Titel;Merk;Rubriek;Prijs;Kleur;Maat;Materiaal\n"
    "R1;Jurk Lucía;Zarina;Dames > Jurken;12,50 €;rood;S, M;katoen\n"
    "R2;Rok;Lunar;Dames > Rokken;22,50 €;blauw;M;zijde\n",
    "klanten.csv": "Klantnr;Voornaam;Achternaam;E-mail;Geboortedatum\n"
    "C1;Zoë;Jansen;c1@voorbeeld.nl;01-07-1984\nC2;José;Jansen;c2@voorbeeld.nl;22-03-1994\n",
    "bestellingen.csv": "Bestelnr;Klantnr;Artikelnummer;Aantal;Stukprijs;Besteldatum\n"
    "1;C1;R1;1;12,50 €;13-04-2025 23:30\n2;C2;R2;2;22,50 €;15-06-2025 00:15\n",
    "retouren.csv": "Klantnr;Artikelnummer;Maat;Aantal;Retourdatum;Reden\nC1;R1;S;1;20-04-2025 10:00;klein\n",
    "zoekopdrachten.csv": "datum;klantnr;zoekterm;aangeklikt artikel\n"
    "13-11-2025 02:31;C1;zwarte rok;R2\n14-08-2025 18:29;C2;jurk;R1\n",
    "campagnes.csv": "campagnecode;titel;startdatum;einddatum\n"
    "M1;Nieuw;01-12-2024 09:00;13-12-2024\nM2;Uitverkoop;13-12-2024 09:00;22-12-2024\n",
    "verzonden.csv": "campagnecode;klantnr;verzonden op\nM1;C1;13-12-2024 09:00\nM1;C2;13-12-2024 09:00\n",
    "recensies.csv": "recensie_id;klant;artikel;beoordeling;tekst;datum\n"
    "A1;C1;R1;4/5;Heel mooie stof;2025-11-13\nA2;C2;R2;2/5;De stof kriebelt;2025-11-14\n",
}
POLISH = {
    "produkty.csv": "numer artykułu;nazwa;marka;kategoria;cena;kolor;rozmiar;materiał\n"
    "R1;Sukienka Lucía;Zarina;Kobiety > Sukienki;12,50 zł;czerwony;S, M;bawełna\n"
    "R2;Spódnica;Lunar;Kobiety > Spódnice;22,50 zł;niebieski;M;jedwab\n",
    "klienci.csv": "nr klienta;imię;nazwisko;e-mail;data urodzenia\n"
    "C1;Zoé;Łącka;c1@przyklad.pl;01.07.1984\nC2;José;Łącki;c2@przyklad.pl;22.03.1994\n",
    "zamówienia.csv": "numer zamówienia;nr klienta;numer artykułu;ilość;data zamówienia\n"
    "1;C1;R1;1;13.04.2025 23:30\n2;C2;R2;2;15.06.2025 00:15\n",
    "zwroty.csv": "nr klienta;numer artykułu;rozmiar;ilość;data zwrotu;powód\n"
    "C1;R1;S;1;20.04.2025 10:00;mały\n",
    "wyszukiwania.csv": "data;nr klienta;fraza wyszukiwania;kliknięty produkt\n"
    "13.11.2025 02:31;C1;czarna spódnica;R2\n14.08.2025 18:29;C2;sukienka;R1\n",
    "kampanie.csv": "kod kampanii;tytuł;data rozpoczęcia;data zakończenia\n"
    "M1;Nowości;01.12.2024 09:00;13.12.2024\nM2;Wyprzedaż;13.12.2024 09:00;22.12.2024\n",
    "wysłano.csv": "kod kampanii;nr klienta;data wysłania\nM1;C1;13.12.2024 09:00\nM1;C2;13.12.2024 09:00\n",
    "opinie.csv": "id opinii;klient;produkt;ocena;treść;data\n"
    "A1;C1;R1;4/5;Bardzo ładny materiał;2025-11-13\nA2;C2;R2;2/5;Materiał drapie;2025-11-14\n",
}


SHOPS = {"French": FRENCH, "Spanish": SPANISH, "Dutch": DUTCH, "Polish": POLISH}


@pytest.mark.parametrize("shop", SHOPS.values(), ids=SHOPS.keys())
def test_a_shop_is_proposed_by_the_words_of_its_own_language(tmp_path: Path, shop: Mapping[str, str]) -> None:
    for name, text in shop.items():
        (tmp_path / name).write_text(text)
    yaml = propose([tmp_path / name for name in shop], SCHEMA)
    shown = preview(parse_mapping(yaml), SCHEMA, tmp_path)
    assert shown.rejects.to_pylist() == []
    made = {key if isinstance(key, str) else key[1]: count for key, count in shown.counts.items()}
    assert made["BOUGHT"] == made["RATED"] == made["SEARCHED"] == made["RECEIVED"] == 2
    assert (made["User"], made["Product"], made["Brand"], made["Query"], made["Campaign"]) == (2, 2, 2, 2, 2)
    assert made["CLICKED"] == 2
    product = shown.examples["Product"].to_pylist()[0]
    assert (product["product_id"], product["price"], product["brand_text"]) == ("R1", 12.5, "Zarina")
    assert product["title"].endswith("Lucía")
    assert ", S, M, " in product["attributes"]
    campaign = shown.examples["Campaign"].to_pylist()[0]
    assert None not in (campaign["title"], campaign["start_at"], campaign["end_at"])
    assert "the name says that these rows are returns" in yaml
    assert "nothing here looks like" not in yaml


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Date de commande", "date order"),
        ("quantités", "quantities"),
        ("opiniones", "opinions"),
        ("Búsquedas", "searches"),
        ("référence produit", "product id"),
        ("mot-clé", "keyword"),
        ("nom du client", "client name"),
        ("ajout_panier", "add to cart"),
        ("product_clicked", "product clicked"),
        ("order_reference", "order reference"),
        ("date_de", "date de"),
        ("Klantnr", "customer nr"),
        ("bestellingen", "order"),
        ("Besteldatum", "order datum"),
        ("numer zamówienia", "number order"),
        ("data zamówienia", "date order"),
        ("Data", "date"),
        ("order_data", "order data"),
        ("data.price", "data price"),
        ("Tytuł", "title"),
        ("Nummer", "nummer"),
    ],
)
def test_names_are_read_by_what_they_mean_and_english_ones_stay(name: str, meant: str) -> None:
    assert words(name) == tuple(meant.split())


def test_what_a_catalogue_alone_calls_its_reference_is_the_key_and_not_the_material(tmp_path: Path) -> None:
    for name in ("produits.csv", "productos.csv"):
        (tmp_path / name).write_text((FRENCH | SPANISH)[name])
        yaml = propose([tmp_path / name], SCHEMA)
        shown = preview(parse_mapping(yaml), SCHEMA, tmp_path)
        assert shown.examples["Product"]["product_id"].to_pylist() == ["R1", "R2"]


def test_a_reference_of_a_payment_is_no_product(tmp_path: Path) -> None:
    path = tmp_path / "payments.csv"
    path.write_text("customer_id,reference,amount,date\nC1,X1,2.5,2024-03-05\nC2,X2,2.5,2024-03-06\n")
    assert "Product" not in propose([path], SCHEMA)
