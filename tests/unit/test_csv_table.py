"""Which code page a file is in, by the words that its letters make."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.csv_table import decode_text

NAMES = {
    "cp1250": [
        "Dvořák a syn\nPekařství Němec\nSoukenička",
        "Wąsik\nŁódź Logistyka\nRóża\nŚwięty Józef",
        "Erdős és Társa\nGyűrű\nSörgyár\nKávé",
        "Šimić\nĐorđević\nČačak",
        "Braşov\nIaşi\nCâmpina Ţesut",
    ],
    "cp1251": ["Юнга Ямщик", "ООО Ромашка", "ООО", "Їжак і Ґава", "Шљива\nЂорђе"],  # noqa: RUF001
    "cp1252": [
        "Müller & Söhne\nGroß",
        "Lumière\nFrançois\nRhône à Hélène",
        "Peñarol\nÁguila",
        "São João\nConstruções",
        "Søren\nÆrø\nHåkon",
        "Perché\nCittà\nLunedì",
        "Müller\nCitroën\nSão Paulo\nLumière",
        "Contoso™ – 5 €",  # noqa: RUF001
    ],
}


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page, texts in NAMES.items() for text in texts]
)
def test_a_code_page_is_known_by_its_words(page, text):
    found = decode_text(text.encode(page))
    assert (found.text, found.encoding, found.others) == (text, page, ())


@pytest.mark.parametrize(
    ("letters", "others"), [("Soukenièka", ("cp1250",)), ("Müller", ()), ("Novák", ())]
)
def test_letters_that_fit_several_are_said_where_they_would_differ(letters, others):
    found = decode_text(letters.encode("cp1252"))
    assert (found.text, found.encoding, found.others) == (letters, "cp1252", others)


@pytest.mark.parametrize("encoding", [None, "cp1251", "utf-8"])
def test_a_mark_and_utf_8_say_themselves_what_they_are(encoding):
    text = "Dvořák Юнга"
    assert decode_text(text.encode(), encoding)[:2] == (text, "utf-8")
    assert decode_text(text.encode("utf-8-sig"), encoding)[:2] == (text, "utf-8")
    marked = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    assert decode_text(marked, encoding)[:2] == (text, "utf-16-be")


def test_a_code_page_that_is_set_is_not_guessed():
    assert decode_text("Soukenička".encode("cp1250"), "cp1250")[0] == "Soukenička"
    assert decode_text("Şişli".encode("cp1254"), "cp1254")[:2] == ("Şişli", "cp1254")
    assert decode_text("Fabrikam".encode("utf-16-le"), "utf-16-le")[0] == "Fabrikam"


def test_names_that_are_known_tell_the_code_page_before_letters_do():
    content = "Soukenička".encode("cp1250")
    assert decode_text(content)[1:] == ("cp1252", ("cp1250",))
    assert decode_text(content, names=["Soukenička s.r.o."])[:2] == ("Soukenička", "cp1250")


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_the_usual_error(content):
    try:
        found = decode_text(content)
    except UnicodeDecodeError:
        return
    assert found.encoding not in found.others
