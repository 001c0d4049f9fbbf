from __future__ import annotations

import pytest
from pydantic import ValidationError

from kisi.errors import ConfigError
from kisi.psa.tigerpaw import TigerpawSettings

SMALLEST = {"kind": "tigerpaw", "url": "https://api.yourhost.example"}


def test_the_default_writes_nothing_and_needs_no_soap_login():
    settings = TigerpawSettings.model_validate(SMALLEST)
    assert (settings.write, settings.soap_template_verified) == ("report", False)
    assert settings.external_product == "Kaspersky"
    assert settings.secrets("tp") == {
        "public_key": "env:KISI_TP_PUBLIC_KEY",
        "private_key": "env:KISI_TP_PRIVATE_KEY",
    }


def test_writing_needs_the_soap_login_too():
    settings = TigerpawSettings.model_validate(
        {**SMALLEST, "write": "soap", "soap_password": "file:soap"}
    )
    assert settings.secrets("tp") == {
        "public_key": "env:KISI_TP_PUBLIC_KEY",
        "private_key": "env:KISI_TP_PRIVATE_KEY",
        "soap_user": "env:KISI_TP_SOAP_USER",
        "soap_password": "file:soap",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://api.yourhost.example/api"},
        {"url": "http://api.yourhost.example"},
        {"url": None},
        {"external_product": ""},
        {"write": "rest"},
        {"soap_path": "tsiWS.asmx"},
        {"first_row": 2},
        {"template": "x.xml"},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        TigerpawSettings.model_validate({**SMALLEST, **wrong})


@pytest.mark.parametrize("path", ["api", "/", "/a b", "/a?b", "/a#b", ""])
def test_a_path_of_another_form_is_told_what_it_must_be(path):
    with pytest.raises(ValidationError, match="it begins with / and holds no spaces, no"):
        TigerpawSettings.model_validate({**SMALLEST, "soap_path": path})
    assert TigerpawSettings.model_validate({**SMALLEST, "soap_path": "/x.asmx"}).soap_path


def test_a_template_that_is_not_there_is_named_with_its_key(scene):
    with pytest.raises(ConfigError) as caught:
        scene.open(soap_template="none.xml")
    assert caught.value.message == (
        "kisi.toml: [psa.tp] soap_template: The Tigerpaw template "
        f"{scene.folder / 'none.xml'} cannot be read: No such file or directory."
    )


def test_a_template_of_one_s_own_is_checked_when_tigerpaw_is_opened(scene):
    (scene.folder / "own.xml").write_text("<a>$quantity</a>")
    with pytest.raises(ConfigError, match=r"own\.xml lacks the placeholder \$agreement_number"):
        scene.open(soap_template="own.xml")
