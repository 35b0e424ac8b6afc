"""Hostile values through every template and the guard: refused exactly where XML cannot carry them, else read back unchanged."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exoscope.outcome import GuardRefused
from exoscope.powershell import LiteralError, literal, literals, read, render_guarded, rendering
from exoscope.scripting.data import ScriptData, read_data, write_data
from exoscope.twin.view import common_name, dn_key, dn_value
from fuzz import values, written
from scripting_plans import datas, renamed, sample_plan

HOSTILE = st.lists(
    st.sampled_from([*values.PIECES, *values.FORBIDDEN, *values.SURROGATES]) | st.characters(), max_size=8
).map("".join)
CARRIED = HOSTILE.filter(values.carried)
GRANT = datas(sample_plan())["01-grant-exchange.ps1"]


def test_the_stream_repeats_and_holds_every_kind() -> None:
    first = list(itertools.islice(values.stream(1), 20_000))
    assert first == list(itertools.islice(values.stream(1), 20_000)) != list(itertools.islice(values.stream(2), 20_000))
    assert {each for each in values.PIECES if not any(each in value for value in first)} == set()
    refused = [value for value in first if not values.carried(value)]
    assert 400 < len(refused) < 1000
    for piece in (*values.FORBIDDEN, *values.SURROGATES):
        assert any(piece in value for value in refused)
    assert any(len(value) == values.LONG for value in first)
    assert "" in first


def test_hostile_values_through_every_template() -> None:
    found = written.check(values.stream(20261126), 3000, None)
    assert not found.problems
    assert found.fates["unchanged"] > 2500
    assert found.fates["refused"] > 50


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_a_value_is_refused_exactly_where_xml_cannot_carry_it(text: str) -> None:
    try:
        written_ = literal([text])
    except LiteralError:
        assert not values.carried(text)
        return
    assert values.carried(text)
    ((operation,),) = read(f"Get-Recipient -RecipientTypeDetails {written_}")
    assert operation.parameters["RecipientTypeDetails"] == (text,)


@settings(max_examples=60, deadline=None)
@given(CARRIED)
def test_a_data_block_holds_any_value(text: str) -> None:
    data = renamed(GRANT, text)
    assert read_data(write_data(data), 0, ScriptData) == data


@settings(max_examples=200, deadline=None)
@given(CARRIED.filter(bool))
def test_a_name_comes_back_out_of_a_dn(name: str) -> None:
    dn = f"CN={dn_value(name)},OU=x"
    assert common_name(dn) == name
    assert dn_key(dn) == (("cn", name.lower()), ("ou", "x"))


@pytest.mark.parametrize("left", values.SINGLE_QUOTES)
def test_a_quote_that_is_not_doubled_is_seen(left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literals, "SINGLE_QUOTES", values.SINGLE_QUOTES.replace(left, ""))
    assert written.check(values.stream(3), 300, None).problems


def test_a_value_that_is_changed_on_its_way_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rendering.literal
    monkeypatch.setattr(rendering, "literal", lambda value: real(value.strip() if isinstance(value, str) else value))
    assert written.check(values.stream(3), 300, None).problems


def test_a_value_that_should_be_refused_and_is_not_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literals, "forbidden_at", lambda text: None)
    assert any("was not refused" in each for each in written.check(values.stream(3), 300, None).problems)


@pytest.mark.parametrize("blank", ["", " ", "\u00a0\u2028", "\t\r\n"])
def test_a_blank_identity_would_mean_everything(blank: str) -> None:
    with pytest.raises(GuardRefused, match="every object"):
        render_guarded("rbac/remove_management_scope", {"name": blank})
