"""What Entra knows of applications beside the fields of a snapshot, whose apps are service principals."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import field

from exoscope.model import App, Noun
from exoscope.twin.view import fold


class Delegated(Noun, frozen=True):
    """An entry of requiredResourceAccess that a snapshot does not hold (type Scope: a delegated permission)."""

    resource: str
    id: str
    type: Literal["Scope", "Role"] = "Scope"


class Registration(Noun, frozen=True):
    """Of one application. ``created`` None: the file does not say. ``owner``: the object id of whoever made it.

    ``hints``: key id of a secret to its first characters; ``keys``: key id of a certificate to its bytes as base64.
    """

    created: datetime | None = None
    audience: str = "AzureADMyOrg"
    principal_tags: tuple[str, ...] = ()
    notes: str | None = None
    owner: str | None = None
    delegated: tuple[Delegated, ...] = ()
    hints: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


class Registrations:
    """By app id, without case. The tenant's lock guards them."""

    def __init__(self) -> None:
        self._known: dict[str, Registration] = {}
        self._bare: dict[str, App] = {}

    def of(self, app_id: str) -> Registration:
        """What is known; that of an application of the file is what a single-tenant one begins with."""
        return self._known.get(fold(app_id), Registration())

    def put(self, app_id: str, known: Registration) -> None:
        """Know this of an application."""
        self._known[fold(app_id)] = known

    def bare(self) -> tuple[App, ...]:
        """Applications without a service principal."""
        return tuple(self._bare.values())

    def put_bare(self, app_id: str, app: App | None) -> None:
        """An application without a service principal; None: it has one now."""
        if app is None:
            self._bare.pop(fold(app_id), None)
        else:
            self._bare[fold(app_id)] = app

    def forget(self, app_id: str) -> None:
        """The application is gone."""
        self._known.pop(fold(app_id), None)
        self._bare.pop(fold(app_id), None)
