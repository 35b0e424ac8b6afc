"""Sign-ins that are kept between commands, where the profile asks for it: encrypted by the system, or in an owner-only file.

Kept is what msal keeps: access and refresh tokens and who signed in. Encrypted is msal-extensions' work: DPAPI on Windows, the
Keychain on macOS, libsecret on Linux (which needs PyGObject). Where that cannot be had it is an error, never a plain file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from exoscope import system
from exoscope.outcome import BadInput
from exoscope.profile import Operator, Profile

FOLDER = "sign-in"


def place_of(profile: Profile, operator: Operator) -> Path:
    """The file of one operator's sign-in: in the user's own state folder, whatever the profile's is (that may be shared)."""
    named = "|".join(
        (
            profile.endpoints.authority,
            profile.tenant,
            operator.client_id or "",
            operator.account or "",
            operator.cache or "",
        )
    )
    return system.state_folder() / FOLDER / f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.cache"


def cache_of(profile: Profile, operator: Operator) -> Any:
    """msal's cache for this operator; None: nothing is kept. Raises BadInput where it cannot be kept as the profile says."""
    if operator.cache is None:
        return None
    from msal_extensions import PersistedTokenCache

    place = place_of(profile, operator)
    system.make_private_dir(place.parent)
    cache = PersistedTokenCache(_persistence(operator, place))
    try:
        list(cache.search("AccessToken"))
    except Exception as error:  # noqa: BLE001 - each system's store has errors of its own; their text may hold what is kept
        raise BadInput(
            f"the kept sign-in {place} cannot be read ({type(error).__name__})",
            code="sign-in-unreadable",
            next="Remove it: exoscope logout. Then sign in again: exoscope login.",
        ) from None
    return cache


def forget(profile: Profile, operator: Operator) -> Path | None:
    """Remove what is kept of this operator; where it was, or None: there was nothing. Raises BadInput."""
    if operator.cache is None:
        return None
    place = place_of(profile, operator)
    if not place.exists():
        return None
    if operator.cache == "encrypted":
        # What the system's store holds is overwritten first: the file only marks that there is something.
        try:
            _persistence(operator, place).save("{}")
        except Exception as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                f"the kept sign-in of {place} cannot be removed from the system's store ({type(error).__name__})",
                code="sign-in-unreadable",
                next="Remove the entry msal-extensions by the system's own means, then that file.",
            ) from None
    try:
        place.unlink(missing_ok=True)
        place.with_name(place.name + ".lockfile").unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{place} cannot be removed: {error.strerror}") from None
    return place


def _persistence(operator: Operator, place: Path) -> Any:
    if operator.cache == "file":
        return _owner_only(place)
    from msal_extensions import build_encrypted_persistence

    try:
        return build_encrypted_persistence(str(place))
    except Exception as error:  # noqa: BLE001 - ImportError without PyGObject, and whatever each system's store raises
        raise BadInput(
            f'[operator] cache = "encrypted": this system has no store for it ({type(error).__name__})',
            code="no-encrypted-cache",
            next='On Linux install PyGObject and a secret service (GNOME Keyring, KWallet). Or take cache = "file", an owner-only '
            "file that is not encrypted, or no cache.",
        ) from None


def _owner_only(place: Path) -> Any:
    from msal_extensions.persistence import BasePersistence, PersistenceNotFound

    class OwnerOnly(BasePersistence):  # type: ignore[misc]  # msal-extensions has no types
        """As every private file here: in one step, mode 0600 or an access list of its own, refused where others can read it."""

        def save(self, content: str) -> None:
            system.write_private(place, content.encode(), replace=True)

        def load(self) -> str:
            if not place.exists():
                raise PersistenceNotFound(location=str(place))
            return system.read_private(place).decode()

        def time_last_modified(self) -> float:
            try:
                return place.stat().st_mtime
            except FileNotFoundError:
                raise PersistenceNotFound(location=str(place)) from None

        def get_location(self) -> str:
            return str(place)

    return OwnerOnly()
