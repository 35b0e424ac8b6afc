"""Filters over all mailboxes at once say what opath says of each mailbox."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exoscope.model import Recipient
from exoscope.opath import Compare, Not, Or, evaluate, parse
from exoscope.opath.nodes import Filter
from exoscope.reach import Reach
from reach_cases import build

pieces = st.sampled_from(
    ("ada", "ADA", "smtp:", "SMTP:", "s", "m", "@contoso.com", "ß", "ss", "ſ", "é", "x500:", ":", " ", "'")
)
texts = st.lists(pieces, min_size=1, max_size=4).map("".join)
across = st.sampled_from(("s*", "sm*", "*p:a*", "*:ada*", "smtp:*", "*tp:s*@contoso.com*"))
patterns = st.one_of(across, st.lists(st.one_of(pieces, st.just("*")), min_size=1, max_size=4).map("".join))


@st.composite
def atoms(draw: st.DrawFn) -> Compare:
    name = draw(
        st.sampled_from(("DisplayName", "PrimarySmtpAddress", "emailaddresses", "Department", "DistinguishedName"))
    )
    operator: Any = draw(st.sampled_from(("eq", "ne", "like", "notlike")))
    return Compare(name, operator, draw(patterns if "like" in operator else texts))


filters: st.SearchStrategy[Filter] = st.recursive(
    atoms(), lambda inner: st.one_of(inner.map(Not), st.tuples(inner, inner).map(Or)), max_leaves=3
)


def _value(recipient: Recipient, name: str) -> Any:
    columns = {
        "DisplayName": recipient.display_name,
        "PrimarySmtpAddress": recipient.primary_smtp_address,
        "EmailAddresses": recipient.email_addresses,
        "DistinguishedName": recipient.distinguished_name,
    }
    return columns[name] if name in columns else recipient.attributes.get(name)


@settings(max_examples=120, deadline=None)
@example([("x", "ada", ["q"])] * 3, parse("EmailAddresses -like '*:ada*'"))
@example([("x", "ada", ["q"])] * 3, parse("PrimarySmtpAddress -notlike '*p:a*'"))
@example([("ſ", "ada", ["SMTP:s"])] * 3, parse("(EmailAddresses -eq 's') -or (DisplayName -eq 's')"))
@given(st.lists(st.tuples(texts, texts, st.lists(texts, max_size=2)), min_size=3, max_size=3), filters)
def test_sets_agree_with_single_answers(people: list[tuple[str, str, list[str]]], node: Filter) -> None:
    base: Any = build({}).recipients
    recipients = tuple(
        msgspec.structs.replace(
            each,
            display_name=name,
            primary_smtp_address=f"{address}{number}",
            email_addresses=(f"{address}{number}", *aliases),
            attributes={"Department": name},
        )
        for number, (each, (name, address, aliases)) in enumerate(zip(base, people, strict=False))
    )
    found = Reach(msgspec.structs.replace(build({}), recipients=recipients)).scope_members(str(node))
    for recipient in recipients:
        answer = evaluate(node, lambda name, recipient=recipient: _value(recipient, name))  # type: ignore[misc] # bound now
        address = recipient.primary_smtp_address
        assert (address in found.inside, address in found.unknown) == (answer is True, answer is None), address
