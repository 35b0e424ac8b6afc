"""What the configuration as it stands says of a mailbox: Exchange's own tests, and the rules over a fresh reading. Pure."""

from __future__ import annotations

from exoscope.checking.connector.nouns import View
from exoscope.model import Answer


def exchange_says(view: View) -> Answer:
    """Exchange's answer over both mechanisms: an assignment lets the app in, or a consent that no policy keeps out."""
    if view.assigned == "allowed" or (view.consented and view.policies == "allowed"):
        return "allowed"
    parts = {view.assigned, view.policies} if view.consented else {view.assigned}
    return "denied" if parts == {"denied"} else "unknown"


def configured(view: View) -> Answer:
    """Allowed or denied where Exchange and the rules agree; else unknown."""
    said = exchange_says(view)
    return said if said == view.predicted else "unknown"


def says(view: View) -> str:
    """What each said, in words, and what it rests on."""
    if view.problem is not None:
        return view.problem
    tests = [f"role assignments {_WORDS[view.assigned]}"]
    if view.consented:
        tests.append(f"a consent stands, and access policies {_POLICIES[view.policies]}")
    rests = f"; {'; '.join(view.because)}" if view.because else ""
    return f"{', '.join(tests)}; by the rules it is {view.predicted}{rests}"


_WORDS = {
    "allowed": "give it",
    "denied": "do not give it",
    "unknown": "could not be tested",
    "not-asked": "were not tested",
}
_POLICIES = {
    "allowed": "leave it",
    "denied": "keep it out",
    "unknown": "could not be tested",
    "not-asked": "were not tested",
}


def why_denied(view: View, permission: str) -> tuple[str, str, str]:
    """(cause, meaning, remedy) of a mailbox that the configuration does not let the app read."""
    if view.consented:
        meaning = f"An access policy keeps the app out of this mailbox: {says(view)}."
        return (
            "access-policy",
            meaning,
            "Add the mailbox to the policy's group; it acts in about an hour, by times later.",
        )
    if view.elsewhere:
        meaning = f"The app holds {permission} elsewhere, and this mailbox is outside its scope: {says(view)}."
        return (
            "out-of-scope",
            meaning,
            "Add the mailbox to the scope or its group (exoscope plan); it acts within two hours.",
        )
    meaning = f"Nothing gives the app {permission}: no role assignment, no consent."
    return "no-grant", meaning, "Plan the scope: exoscope plan scope.yaml -o plan.json"
