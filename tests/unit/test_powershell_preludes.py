"""Session preludes: constant, hashed, recognised byte for byte."""

from __future__ import annotations

import hashlib

import pytest

from exoscope.powershell import TemplateError, known_prelude, prelude, preludes


def test_the_prelude_takes_its_data_as_typed_parameters() -> None:
    connect = prelude()
    assert [(each.name, each.type, each.mandatory) for each in connect.parameters] == [
        ("AccessToken", "securestring", True),
        ("CommandName", "string[]", True),
        ("Organization", "string", False),
        ("UserPrincipalName", "string", False),
        ("DelegatedOrganization", "string", False),
        ("ExchangeEnvironmentName", "string", False),
        ("ModuleBasePath", "string", False),
    ]


def test_it_is_known_by_its_hash_and_by_nothing_less() -> None:
    for each in preludes():
        assert each.sha256 == hashlib.sha256(each.text.encode()).hexdigest()
        assert known_prelude(each.text) == each.name
        for other in (each.text + " ", each.text[1:], each.text.replace("#", "# ", 1), each.text.upper(), ""):
            assert known_prelude(other) is None


def test_it_says_what_a_service_needs() -> None:
    text = prelude().text
    for needed in ("SkipLoadingFormatData", "ShowBanner", "CommandName", "-MinimumVersion 3.2.0", "[securestring]"):
        assert needed in text
    assert "ConvertFrom-SecureString" not in text
    assert "{{" not in text


@pytest.mark.parametrize("name", ["", "session/none", "../session/connect", "session/connect.ps1"])
def test_unknown_preludes(name: str) -> None:
    with pytest.raises(TemplateError):
        prelude(name)
