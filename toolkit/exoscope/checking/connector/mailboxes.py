"""The second half of what a connector meets: its token's roles, and each mailbox. Pure.

Source of what Graph's codes mean: Graph's errors page, application-rbac and application-access-policies (Microsoft): a 403
does not say which mechanism denied, a 404 does not prove denial, and a change acts after 30 minutes to 2 hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from exoscope import catalog
from exoscope.checking.connector.configured import configured, says, why_denied
from exoscope.checking.connector.nouns import Answers, Called, Line, View

DENIED = frozenset({"ErrorAccessDenied", "AccessDenied", "extensionError"})
QUIET = (
    "Ask nothing for two hours, this command included: the service remembers a refusal for as long as it is asked, up to "
    "two hours."
)
_ALIKE = (
    "From here three things look alike: the mailbox is outside the scope, nothing gives the app this permission at all, or "
    "it was given lately and the service still remembers the refusal."
)
_WHICH = (
    "Tell them apart with --profile, which asks Exchange; or by hand: Test-ServicePrincipalAuthorization on this mailbox (no "
    "row with the permission: not given; InScope False: outside; True: remembered, wait two hours in quiet)."
)


class Missing(NamedTuple):
    """What a 404 says of a mailbox."""

    cause: str
    meaning: str
    remedy: str


_MISSING: Mapping[str, Missing] = {
    "MailboxNotEnabledForRESTAPI": Missing(
        "mailbox-unusable",
        "The user is there and has no mailbox that Graph can open: on-premises, inactive, soft-deleted, without a licence, "
        "a mail user or a guest. No permission changes that.",
        "Name a mailbox in Exchange Online; see Get-Recipient for what this address is.",
    ),
    "ResourceNotFound": Missing(
        "mailbox-unusable",
        "Graph cannot find where this mailbox is: most often one that is on-premises, inactive or just being made.",
        "Wait where it is new; else name a mailbox in Exchange Online.",
    ),
    "ErrorInvalidUser": Missing(
        "address-unknown",
        "No mailbox has this address as Graph takes it (a sign-in name or an id): a group's address, an alias, or a mistake.",
        "Give the connector the mailbox's user principal name.",
    ),
    "Request_ResourceNotFound": Missing(
        "address-unknown",
        "The directory has no such user.",
        "Give the connector the mailbox's user principal name.",
    ),
}


def roles_line(answers: Answers, roles: tuple[str, ...] | None) -> Line:
    """The application permissions in the token: information only."""
    asked = "the roles in the token"
    if roles is None:
        return Line("roles", None, "note", asked, "they cannot be read", "Nothing rests on them.")
    carried = carrying(answers.permission, roles)
    if carried:
        meaning = (
            f"{', '.join(carried)} is consented for the whole tenant. Only access policies hold it back; a role assignment's "
            "scope does not."
        )
    elif roles:
        meaning = (
            f"None of these lets the call for {answers.permission} through: it rests on a role assignment in Exchange."
        )
    else:
        meaning = (
            "An app that is scoped by role assignments alone carries none: this is no sign that something is missing."
        )
    return Line("roles", None, "note", asked, ", ".join(sorted(roles)) or "none", meaning)


def carrying(permission: str, roles: tuple[str, ...] | None) -> tuple[str, ...]:
    """The roles that let a call for this permission through."""
    return tuple(role for role in roles or () if catalog.lets_through(role, permission))


def inside_line(answers: Answers, called: Called, roles: tuple[str, ...] | None, view: View | None) -> Line:
    """A mailbox that the connector must read."""
    line = _Of(answers, called, view, "mailbox")
    if called.status == 200:
        return _readable(line, answers, roles)
    if refused(called):
        return _refused_inside(line, answers, roles)
    missing = _MISSING.get(called.code or "") if called.status == 404 else None
    if missing is not None:
        return line("failed", missing.meaning + line.kind, missing.remedy, missing.cause)
    return _untold(line)


def outside_line(
    answers: Answers, called: Called, roles: tuple[str, ...] | None, view: View | None, *, any_read: bool
) -> Line:
    """A mailbox that the connector must not read. ``any_read``: was some mailbox of the others readable?"""
    line = _Of(answers, called, view, "not-mailbox")
    if called.status == 200:
        return _leaking(line, answers, roles)
    if refused(called):
        return _refused_outside(line, any_read=any_read)
    missing = _MISSING.get(called.code or "") if called.status == 404 else None
    if missing is not None:
        meaning = f"{missing.meaning}{line.kind} So nothing is shown of what the app may not do."
        return line("unknown", meaning, "Name a mailbox of Exchange Online that the app must not read.", missing.cause)
    return _untold(line)


def test_button_line(called: Called) -> Line:
    """A vendor's Test button (or its list of mailboxes) reads the user, which no mailbox permission allows: information only."""
    asked = f"GET /users/{called.mailbox}?$select=id, as many a vendor's Test button does"
    seen = seen_of(called)
    if called.status == 200:
        meaning = "Such a button works. The app may read users' profiles in the whole tenant, which no scope limits."
        return Line("test-button", called.mailbox, "note", asked, seen, meaning, None, None, called.request_id)
    if called.status == 403:
        meaning = (
            "Such a button fails here, and a list of mailboxes stays empty: reading a user needs User.Read.All, which no "
            "mailbox permission includes. It says nothing of the mail, which the connector may read all the same."
        )
        remedy = "Go by what this command says of the mailbox; consent to User.Read.All only where the vendor insists."
        return Line("test-button", called.mailbox, "note", asked, seen, meaning, remedy, "user-read", called.request_id)
    meaning = "Whether such a button works cannot be told from this answer."
    return Line("test-button", called.mailbox, "note", asked, seen, meaning, None, None, called.request_id)


def refused(called: Called) -> bool:
    """Is this the answer of a mailbox that must not be opened?"""
    return called.status == 403 and called.code in DENIED


def seen_of(called: Called) -> str:
    """What the service answered, in one line."""
    if called.status is None:
        return called.said or "no answer"
    words = f"HTTP {called.status}{f' {called.code}' if called.code else ''}"
    return f"{words}: {called.said}" if called.said else words


class _Of:
    """Makes the line of one mailbox."""

    def __init__(self, answers: Answers, called: Called, view: View | None, what: str) -> None:
        self.called, self.view = called, view
        self._what = what
        found = catalog.probe_for(answers.permission)
        path = found[1].replace("{id}", called.mailbox) if found else ""
        self._asked = f"GET {path}, as the app"

    @property
    def kind(self) -> str:
        """What the operator's side says the address is, as a sentence of its own."""
        if self.view is None or self.view.kind is None:
            return ""
        return f" Exchange says it is a {self.view.kind}."

    def __call__(self, result: str, meaning: str, remedy: str | None = None, cause: str | None = None) -> Line:
        return Line(
            self._what,  # type: ignore[arg-type]  # one of two words
            self.called.mailbox,
            result,  # type: ignore[arg-type]  # a word of Result
            self._asked,
            seen_of(self.called),
            meaning,
            remedy,
            cause,
            self.called.request_id,
        )


def _readable(line: _Of, answers: Answers, roles: tuple[str, ...] | None) -> Line:
    least = catalog.canonical(catalog.least_probed(answers.permission) or answers.permission)
    shown = (
        f" The call reads ids only, for which {least} is enough: whether {answers.permission} is given it does not show."
        if least != catalog.canonical(answers.permission) and not carrying(answers.permission, roles)
        else ""
    )
    if line.view is None:
        return line("ok", f"The connector can read this mailbox.{shown}")
    stands = configured(line.view)
    if stands == "denied":
        meaning = f"It is still readable, and the configuration does not allow it any more: {says(line.view)}."
        remedy = "Give the app what it needs on this mailbox (exoscope plan, or exoscope explain on a snapshot)."
        return line("failed", meaning, remedy, "will-close")
    if stands == "unknown":
        meaning = f"The connector can read this mailbox; whether it stays so cannot be told: {says(line.view)}."
        return line("unknown", meaning, "exoscope verify tells more.", "exchange-untold")
    return line("ok", "The connector can read this mailbox, and Exchange says it may.")


def _refused_inside(line: _Of, answers: Answers, roles: tuple[str, ...] | None) -> Line:
    view = line.view
    if view is not None and view.predicted != "not-asked":
        stands = configured(view)
        if stands == "allowed":
            meaning = (
                f"Exchange says the app may read this mailbox: the refusal is one that the service remembers. {QUIET}"
            )
            return line("pending", meaning, "Come back then.", "cached-denial")
        if stands == "denied":
            cause, meaning, remedy = why_denied(view, answers.permission)
            return line("failed", meaning, remedy, cause)
        meaning = f"{_ALIKE} Exchange could not tell them apart: {says(view)}."
        return line("failed", meaning, "exoscope verify tells more.", "refused")
    hint = (
        " The word [RAOP] in the answer hints at an access policy; it proves none."
        if "[RAOP]" in line.called.said
        else ""
    )
    carried = carrying(answers.permission, roles)
    if carried:
        meaning = (
            f"The token carries {', '.join(carried)}, so no scope and no missing grant explains this: an access policy keeps "
            f"the app out, or one that was removed lately is still remembered.{hint}"
        )
        remedy = (
            "Test-ApplicationAccessPolicy -Identity the mailbox -AppId the client id says whether a policy denies it now; with "
            "--profile this command asks. Granted: ask nothing for two hours."
        )
        return line("failed", meaning, remedy, "policy-likely")
    return line("failed", f"{_ALIKE}{hint}", _WHICH + f" {QUIET}", "refused")


def _refused_outside(line: _Of, *, any_read: bool) -> Line:
    view = line.view
    stands = "not-asked" if view is None or view.predicted == "not-asked" else configured(view)
    if view is not None and stands == "allowed":
        meaning = (
            f"It is refused only as long as the service remembers: Exchange says the app may read it ({says(view)})."
        )
        remedy = "Take this mailbox out of the scope, the group or the policy (exoscope explain says which)."
        return line("failed", meaning, remedy, "will-open")
    if view is not None and stands == "unknown":
        meaning = f"It is refused; whether it stays so cannot be told: {says(view)}."
        return line("unknown", meaning, "exoscope verify tells more.", "exchange-untold")
    if stands == "denied":
        return line("ok", "The app is kept out, and Exchange says it must be.")
    if not any_read:
        meaning = "It is refused, as every mailbox is: that shows no scope. A grant that is missing looks the same."
        return line("unknown", meaning, "Name a --mailbox that the app can read, beside this one.", "proves-nothing")
    return line("ok", "The app is kept out of this mailbox, and not of the other.")


def _leaking(line: _Of, answers: Answers, roles: tuple[str, ...] | None) -> Line:
    view = line.view
    settling = answers.operator is not None and answers.operator.settling
    if view is not None and view.predicted != "not-asked" and configured(view) == "denied" and settling:
        meaning = (
            f"It is readable, and no longer by the configuration ({says(view)}): a change made lately does not act yet."
        )
        return line("pending", meaning, "Come back when it must have acted.", "old-grant")
    carried = carrying(answers.permission, roles)
    if carried:
        meaning = (
            f"The app reads a mailbox that it must not. Its token carries {', '.join(carried)}: a consent for the whole "
            "tenant, which the scope of a role assignment does not narrow."
        )
        remedy = (
            "Remove the consent once a role assignment is proven, or have an access policy restrict it: exoscope plan does "
            "either in the safe order."
        )
        return line("failed", meaning, remedy, "tenant-wide-consent")
    told = f" Exchange's side: {says(view)}." if view is not None and view.predicted != "not-asked" else ""
    meaning = f"The app reads a mailbox that it must not, and by a role assignment: its token carries nothing that would do.{told}"
    remedy = "Narrow the scope, or take the mailbox out of its group (exoscope explain on a snapshot says which)."
    return line("failed", meaning, remedy, "scope-too-wide")


def _untold(line: _Of) -> Line:
    called = line.called
    if called.status in (429, 503):
        return line("unknown", "Graph had no time for this call.", "Run it again in some minutes.", "throttled")
    if called.status is None or called.status >= 500:
        return line("unknown", "Graph gave no answer that says anything of the mailbox.", "Run it again.", "no-answer")
    if called.status == 401:
        meaning = "Graph does not take the token: clocks, a proxy that changes calls, or an authority of another cloud."
        return line("unknown", meaning, "Compare --cloud with the tenant's.", "token-refused")
    meaning = "This answer says nothing of whether the app may read the mailbox."
    remedy = "Look the code up in Graph's errors page; the request id finds the call for Microsoft's support."
    return line("unknown", meaning, remedy, "unexpected-answer")
