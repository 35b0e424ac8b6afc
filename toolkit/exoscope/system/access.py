"""Windows access lists as text (SDDL): which one is private, and the one that a private file or folder gets. No I/O.

``me`` is the user, spelled as the system spells it in SDDL: a SID, or an alias (``LA`` for the built-in administrator).
Source: Security Descriptor String Format and ACE Strings, learn.microsoft.com/windows/win32/secauthz.
"""

from __future__ import annotations

import re

_SYSTEM = frozenset({"SY", "S-1-5-18", "BA", "S-1-5-32-544"})  # the machine itself, and its administrators
_RIGHTS_OF_OWNER = frozenset({"OW", "S-1-3-4"})
_CREATOR = frozenset({"CO", "S-1-3-0"})  # whoever makes something in the folder
_ACE = re.compile(r"\(([^()]*)\)")
_LIST = re.compile(r"D:[A-Z]*((?:\([^()]*\))+)(?:S:.*)?$")
_OWNER = re.compile(r"O:(.+?)(?=G:|D:|S:|$)")


def is_private(sddl: str, me: str) -> bool:
    """Does a security descriptor allow nobody but this user, SYSTEM and Administrators, and belong to one of them?

    What is not understood (no access list, conditional or object entries, no text at all) is not private.
    """
    owner, listed = _OWNER.match(sddl), _LIST.search(sddl)
    if not me or owner is None or listed is None:
        return False
    trusted = _SYSTEM | {me}
    return owner[1] in trusted and all(_harmless(entry.split(";"), trusted) for entry in _ACE.findall(listed[1]))


def _harmless(entry: list[str], trusted: frozenset[str]) -> bool:
    if len(entry) != 6:
        return False
    kind, flags, trustee = entry[0], entry[1], entry[5]
    if kind == "A":
        # two letters a flag; IO: it says nothing of the folder, only of what will be made in it
        only_inherited = "IO" in re.findall("..", flags)
        return trustee in trusted | _RIGHTS_OF_OWNER or (trustee in _CREATOR and only_inherited)
    return kind == "D"


def private(me: str, *, folder: bool = False) -> str:
    """The access list of a private file, or of a private folder and all that will be made in it; nothing is inherited."""
    how = "OICI" if folder else ""
    return "D:P" + "".join(f"(A;{how};FA;;;{who})" for who in (me, "SY", "BA"))
