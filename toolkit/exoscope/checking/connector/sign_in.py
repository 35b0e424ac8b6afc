"""The first half of what a connector meets: the authority, the tenant, its credential. Pure.

Source of what AADSTS numbers mean: Microsoft's reference-error-codes page (which says to go by number, never by words), but
900382 (a tenant of another national cloud: tpitale/mail_room issue 139).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from exoscope.checking.connector.nouns import Answers, Authority, Line, Operator, Result, SignIn, What


class Told(NamedTuple):
    """What one AADSTS number says to who owns the connector. ``what``: which of the three it is about."""

    what: What
    cause: str
    meaning: str
    remedy: str
    result: Result = "failed"


_AGAIN = "Run the same command again in a minute."
_COPY_VALUE = (
    "Copy the Value of the client secret, not its Secret ID. A Value that was not noted when it was made cannot be read "
    "again: make a new secret."
)
_WHICH_APP = (
    "Compare both ids with the app's overview page in Entra: Application (client) ID and Directory (tenant) ID stand there "
    "together. An app made minutes ago may not be known everywhere yet."
)
_PASSING = Told(
    "credential", "passing", "Entra had a passing fault: it says nothing of the credential.", _AGAIN, "unknown"
)

_CODES: Mapping[int, Told] = {
    7000215: Told(
        "credential",
        "wrong-secret",
        "Entra knows the app, and this is none of its secrets: another app's, one that was removed, or one that lost a "
        "character on its way.",
        _COPY_VALUE,
    ),
    7000222: Told(
        "credential",
        "secret-expired",
        "The secret was right and its time is over: the connector fails with it everywhere.",
        "Make a new secret, hand it to the connector, then remove the old one.",
    ),
    700027: Told(
        "credential",
        "certificate-refused",
        "Entra knows the app, and not with this certificate: it is not registered there, it has expired, or the private key "
        "is another's. The words in brackets say which.",
        "Register the certificate's public part with the app, and see that its dates and its key are right.",
    ),
    700024: Told(
        "credential",
        "clock",
        "The times of the signed assertion are out of range: the clock of this machine is wrong.",
        "Set this machine's clock, and the connector's.",
    ),
    500133: Told(
        "credential",
        "clock",
        "The times of the signed assertion are out of range: the clock of this machine is wrong.",
        "Set this machine's clock, and the connector's.",
    ),
    50012: Told(
        "credential",
        "assertion-refused",
        "Entra does not take the signed assertion.",
        "See that the certificate is the app's own, and that this machine's clock is right.",
    ),
    7000218: Told(
        "credential",
        "no-credential",
        "Entra got neither a secret nor an assertion.",
        "Name the connector's secret or its certificate.",
    ),
    700025: Told(
        "credential",
        "public-client",
        "The app is registered as a public client, which cannot sign in by itself: no connector of this kind works with it.",
        "Register a confidential app (no “Allow public client flows”), with a secret or a certificate.",
    ),
    700016: Told(
        "credential",
        "app-unknown",
        "The tenant exists, and no app with this client id can sign in to it: the id is another tenant's app, an object id "
        "in place of the client id, or one that was deleted.",
        _WHICH_APP,
    ),
    700011: Told(
        "credential",
        "app-unknown",
        "The tenant exists, and no app with this client id can sign in to it: the id is another tenant's app, an object id "
        "in place of the client id, or one that was deleted.",
        _WHICH_APP,
    ),
    7000229: Told(
        "credential",
        "no-principal",
        "The app is registered and has no service principal in this tenant to sign in as.",
        "Have an admin make it (Enterprise applications), or sign in where the app is registered; a new one takes a minute.",
    ),
    7000112: Told(
        "credential",
        "app-disabled",
        "The app is there, and its sign-in is switched off.",
        "Have an admin enable it: Enterprise applications, the app, Properties, “Enabled for users to sign in”.",
    ),
    70001: Told(
        "credential",
        "app-disabled",
        "The app is disabled in this tenant, or not known to it.",
        "Have an admin look it up under Enterprise applications, by the client id, and enable it.",
    ),
    53003: Told(
        "credential",
        "blocked",
        "A Conditional Access policy for workload identities blocks this sign-in; from where the connector runs it may "
        "block it too, or not.",
        "Ask whoever keeps Conditional Access which policy names this app, and from which addresses it may sign in.",
    ),
    500011: Told(
        "credential",
        "no-graph",
        "The tenant knows no Microsoft Graph by this address: it is a tenant of another cloud.",
        "Name the tenant's cloud with --cloud.",
    ),
    900382: Told(
        "tenant",
        "other-cloud",
        "The tenant is one of another national cloud, which this authority does not serve.",
        "Name the tenant's cloud with --cloud, and give the connector that cloud's addresses.",
    ),
    90002: Told(
        "tenant",
        "tenant-unknown",
        "This cloud has no such tenant.",
        "Take the Directory (tenant) ID from the app's overview page; a tenant of a national cloud needs --cloud.",
    ),
    900023: Told(
        "tenant",
        "tenant-malformed",
        "This is neither a tenant's id nor a domain that a tenant has verified.",
        "Take the Directory (tenant) ID from the app's overview page.",
    ),
    9001023: Told(
        "tenant",
        "tenant-malformed",
        "An app that signs in by itself must name its tenant.",
        "Take the Directory (tenant) ID from the app's overview page.",
    ),
    **dict.fromkeys((90033, 90006, 90012, 90024, 90090), _PASSING),
}

_SECRET_ID = Told(
    "credential",
    "secret-id",
    "What was given as the secret has the form of a Guid, as the Secret ID has: the ID was copied in place of the Value.",
    _COPY_VALUE,
)


def authority_lines(answers: Answers) -> tuple[Line, ...]:
    """Can the authority be reached, and does it know the tenant? The last line is not ok where the check ends here."""
    found = answers.authority
    asked = f"GET {found.url}/{answers.tenant}/v2.0/.well-known/openid-configuration"
    reached = Line("authority", None, "ok", asked, _status(found), "The sign-in service answers from here.")
    if found.problem is not None:
        return (_unreached(found, asked),)
    if found.tenant_id is not None:
        tenant = Line("tenant", None, "ok", asked, f"tenant {found.tenant_id}", "The tenant exists in this cloud.")
        return reached, tenant
    told = _CODES.get(found.code or 0)
    if told is None or told.what != "tenant":
        seen = found.said or _status(found)
        meaning = "The authority did not say whether there is such a tenant."
        return reached, Line("tenant", None, "unknown", asked, seen, meaning, _AGAIN, "tenant-untold")
    return reached, Line("tenant", None, told.result, asked, found.said, told.meaning, told.remedy, told.cause)


def _status(found: Authority) -> str:
    return f"HTTP {found.status}"


def _unreached(found: Authority, asked: str) -> Line:
    if found.problem == "untrusted":
        meaning = "The connection is answered with a certificate that this machine does not trust: often a proxy that looks in."
        remedy = "Trust the CA that signed it (REQUESTS_CA_BUNDLE), here and where the connector runs."
        return Line("authority", None, "failed", asked, found.said, meaning, remedy, "authority-untrusted")
    if found.problem == "strange":
        meaning = "Something else than a sign-in service answers at this address."
        remedy = "Look at [endpoints] authority, and at proxies between here and there."
        return Line(
            "authority", None, "failed", asked, found.said or _status(found), meaning, remedy, "authority-strange"
        )
    meaning = "No answer from here: nothing is said of the connector, which may stand where it gets one."
    remedy = "Look at this machine's network, name resolution and proxy; run this where the connector runs."
    return Line("authority", None, "unknown", asked, found.said, meaning, remedy, "authority-unreachable")


def credential_line(answers: Answers, sign_in: SignIn) -> Line:
    """Does Entra take the credential, and if not, why not?"""
    asked = f"a token for Microsoft Graph, as {answers.client_id} with a {sign_in.kind}"
    if sign_in.issued:
        return Line(
            "credential",
            None,
            "ok",
            asked,
            f"a token of the service principal {sign_in.object_id or '(not told)'}",
            "Entra takes the credential. That says nothing yet of any mailbox.",
        )
    told = _CODES.get(sign_in.code or 0)
    if sign_in.code == 7000215 and sign_in.looks_like_an_id:
        told = _SECRET_ID
    if told is None:
        told = _PASSING if sign_in.passing else _other(sign_in)
    if told.cause == "app-unknown" and answers.operator is not None:
        told = _identified(told, answers, answers.operator)
    seen = sign_in.said or "no reason given"
    return Line(told.what, None, told.result, asked, seen, told.meaning, told.remedy, told.cause, sign_in.request_id)


def _other(sign_in: SignIn) -> Told:
    if sign_in.code is None:
        meaning = "The sign-in did not come as far as an answer of Entra."
        remedy = "See that the certificate file is whole and its passphrase right, then run the same command again."
        return Told("credential", "not-signed-in", meaning, remedy, "unknown")
    meaning = "Entra refuses the sign-in for a reason that is not a connector's usual one."
    remedy = f"Look it up: https://login.microsoftonline.com/error?code={sign_in.code}"
    return Told("credential", "refused", meaning, remedy)


def _identified(told: Told, answers: Answers, operator: Operator) -> Told:
    """What the client id really is, where the operator's tenant was asked."""
    here = answers.authority.tenant_id
    if operator.found == "object-id":
        name = operator.display_name or operator.app_id
        meaning = f"This is an object id of the app {name}, not its client id."
        return told._replace(
            cause="object-id", meaning=meaning, remedy=f"Its Application (client) ID is {operator.app_id}."
        )
    if operator.found == "app" and operator.tenant_id and here and operator.tenant_id.casefold() != here.casefold():
        meaning = f"The app {operator.display_name} is in the profile's tenant {operator.tenant_id}; asked was {here}."
        return told._replace(
            cause="wrong-tenant", meaning=meaning, remedy="Give the connector the profile's tenant id."
        )
    if operator.found == "app":
        meaning = f"The tenant has the app {operator.display_name}, and the sign-in service does not know it yet."
        remedy = "A new app takes minutes to be known everywhere: come back then."
        return told._replace(cause="app-new", meaning=meaning, remedy=remedy, result="pending")
    if operator.found == "registration":
        meaning = (
            f"The app {operator.display_name} is registered in the tenant and has no service principal to sign in as."
        )
        remedy = f"Have an admin make it (Enterprise applications): New-MgServicePrincipal -AppId '{answers.client_id}'"
        return told._replace(cause="no-principal", meaning=meaning, remedy=remedy)
    if operator.found == "nothing":
        meaning = f"The operator sees no app, and no object of an app, with this id in the tenant {operator.tenant_id}."
        return told._replace(meaning=meaning)
    return told
