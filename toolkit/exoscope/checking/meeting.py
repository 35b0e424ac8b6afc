"""Meeting a tenant: one example of everything that a plan decides from is read. Reads only; few rows of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from exoscope import catalog
from exoscope.checking import shapes
from exoscope.checking.contact import Contact, Met, Shape, compare, contact_of, unread
from exoscope.entra.paths import path
from exoscope.exchange import DEADLINE, Row
from exoscope.exchange.connect import column
from exoscope.exchange.inventory import APPLICATION_ROLE, rows_of
from exoscope.exchange.recipients import members_template
from exoscope.outcome import GuardRefused, LostSession, ObjectNotFound, ServiceError, SignInFailed, WrongTenant
from exoscope.reading.source import Source

Rows = tuple[Row, ...]
_FATAL = (SignInFailed, WrongTenant, GuardRefused, LostSession)
TELLS_COLUMNS = "admin-api"
"""The road on which a row has the columns that were answered; elsewhere PowerShell's Select-Object writes null for any other."""


def meet(connection: Source, say: Callable[[str], None]) -> Contact:
    """Everything once. ``say`` gets a line before each is read.

    Raises SignInFailed, WrongTenant and LostSession: then nothing can be read. What else fails is told as unread.
    """
    return _Meeting(connection, say).contact()


class _Meeting:
    def __init__(self, connection: Source, say: Callable[[str], None]) -> None:
        self._connection, self._say = connection, say
        self._met: list[Met] = []

    def contact(self) -> Contact:
        self._connection.prove_tenant()
        self._exchange()
        self._graph()
        return contact_of(self._met)

    # -- Exchange ----------------------------------------------------------------------------------------------

    def _exchange(self) -> None:
        self._shape(shapes.ORGANIZATION, "inventory/organization", whole="contact/organization")
        pointers = self._shape(
            shapes.SERVICE_PRINCIPAL, "inventory/service_principals", whole="contact/service_principal", by="ObjectId"
        )
        self._shape(shapes.MANAGEMENT_SCOPE, "inventory/management_scopes", whole="contact/management_scope", by="Name")
        self._shape(shapes.ROLE, "inventory/roles")
        assignments = self._shape(
            shapes.ROLE_ASSIGNMENT,
            "inventory/role_assignments",
            only=lambda row: (
                str(column(row, "Role") or "").casefold().startswith(APPLICATION_ROLE)
                and str(column(row, "RoleAssigneeType") or "").casefold() != "rolegroup"
            ),
            whole="contact/role_assignment",
            by="Name",
        )
        policies = self._shape(
            shapes.ACCESS_POLICY, "inventory/access_policies", whole="contact/access_policy", by="Identity"
        )
        units = any(str(column(row, "RecipientWriteScope")).casefold() == "administrativeunit" for row in assignments)
        # Exchange's own list of units is read only where an assignment names one, in a snapshot too.
        self._shape(shapes.EXCHANGE_UNIT, "inventory/administrative_units" if units else None)
        mailboxes = self._recipients()
        self._groups()
        self._tests(pointers, assignments, policies, mailboxes)

    def _recipients(self) -> Rows:
        """Some of whatever comes first, and one of each kind; the user mailboxes among them."""
        some = self._shape(shapes.RECIPIENT, "contact/recipients", whole="contact/recipient", by="Guid")
        mailboxes: Rows = ()
        for kind, shape in shapes.KIND.items():
            here = tuple(row for row in some if str(column(row, "RecipientTypeDetails")).casefold() == kind.casefold())
            if here:
                self._met.append(compare(shape, here))
            else:
                here = self._shape(shape, "contact/recipients_of_kind", {"kind": kind})
            if kind == "UserMailbox":
                mailboxes = here
        return mailboxes

    def _groups(self) -> None:
        groups = self._shape(shapes.GROUP, "contact/groups", whole="contact/group", by="Guid")
        self._shape(
            shapes.DISTRIBUTION_GROUP, "contact/distribution_groups", whole="contact/distribution_group", by="Guid"
        )
        for shape, template, wanted in (
            (shapes.GROUP_MEMBER, "contact/distribution_group_members", "inventory/distribution_group_members"),
            (shapes.UNIFIED_MEMBER, "contact/unified_group_members", "inventory/unified_group_members"),
        ):
            fitting = [row for row in groups if members_template(str(column(row, "RecipientTypeDetails"))) == wanted]
            group = _first(fitting, "Guid")
            self._shape(shape, template if group else None, {"group": group})

    def _tests(self, pointers: Rows, assignments: Rows, policies: Rows, mailboxes: Rows) -> None:
        assigned = {str(column(row, "RoleAssigneeName")).casefold() for row in assignments}

        def is_assigned(row: Row) -> bool:
            return any(str(column(row, name)).casefold() in assigned for name in ("ObjectId", "AppId", "DisplayName"))

        app = _first(pointers, "ObjectId", is_assigned) or _first(pointers, "ObjectId")
        mailbox = _first(mailboxes, "Guid")
        self._shape(shapes.AUTHORIZATIONS, "verify/authorizations" if app else None, {"app": app})
        self._shape(
            shapes.AUTHORIZATION,
            "verify/authorization" if app and mailbox else None,
            {"app": app, "resource": mailbox},
        )
        app_id = _first(policies, "AppId", lambda row: column(row, "AppId") != "*") or _first(pointers, "AppId")
        self._shape(
            shapes.POLICY_TEST,
            "verify/access_policy" if app_id and mailbox else None,
            {"mailbox": mailbox, "app_id": app_id},
        )

    def _shape(
        self,
        shape: Shape,
        template: str | None,
        values: Mapping[str, Any] | None = None,
        *,
        only: Callable[[Row], bool] = lambda row: True,
        whole: str | None = None,
        by: str | None = None,
    ) -> Rows:
        """Read and compare; the rows. ``template`` None: there is nothing to ask about. ``whole``: the template that gives one
        object with all of its columns, found by its value in the column ``by``.
        """
        rows: Rows = ()
        if template is None:
            self._met.append(compare(shape, ()))
            return rows
        self._say(f"first contact: {shape.name}")
        try:
            rows = tuple(row for row in self._rows(template, values or {}) if only(row))
            names = self._columns(whole, by, rows)
        except _FATAL:
            raise
        except ServiceError as error:
            self._met.append(unread(shape, error.message))
            return ()
        self._met.append(compare(shape, rows, names))
        return rows

    def _rows(self, template: str, values: Mapping[str, Any]) -> Rows:
        try:
            return rows_of(self._connection.exchange, template, values, deadline=DEADLINE)
        except ObjectNotFound:
            return ()  # "no access policies" is an error in Exchange

    def _columns(self, whole: str | None, by: str | None, rows: Rows) -> tuple[str, ...] | None:
        """The columns that the object really has, where the road does not tell them by itself."""
        if whole is None or not rows or self._connection.exchange.road == TELLS_COLUMNS:
            return None
        identity = None if by is None else _first(rows, by)
        if by is not None and identity is None:
            return None  # the comparison says that the column is empty
        found = self._rows(whole, {} if by is None else {"identity": identity})
        return tuple(found[0]) if found else None

    # -- Graph -------------------------------------------------------------------------------------------------

    def _graph(self) -> None:
        self._asked(shapes.GRAPH_ORGANIZATION, path("organization"))
        self._asked(shapes.APPLICATION, path("applications").replace("$top=999", "$top=5"))
        self._asked(shapes.PRINCIPAL, path("principals").replace("$top=999", "$top=20"))
        resource = self._asked(shapes.RESOURCE, path("resource", catalog.GRAPH), one=True)
        roles = column(resource[0], "appRoles") if resource else ()
        self._met.append(compare(shapes.APP_ROLE, [row for row in roles or () if isinstance(row, dict)]))
        holders = _first(resource, "id")
        self._asked(
            shapes.APP_ROLE_ASSIGNMENT, path("assigned", holders).replace("$top=999", "$top=5") if holders else None
        )
        self._asked(shapes.USER, "/users?$select=id,userPrincipalName&$top=1")
        groups = self._asked(shapes.GRAPH_GROUP, "/groups?$select=id,groupTypes&$top=1")
        group = _first(groups, "id")
        self._asked(
            shapes.GRAPH_GROUP_MEMBER, path("group_members", group).replace("$top=999", "$top=1") if group else None
        )
        units = self._asked(shapes.UNIT, path("units"))
        unit = _first(units, "id")
        self._asked(shapes.UNIT_MEMBER, path("unit_members", unit) if unit else None)

    def _asked(self, shape: Shape, where: str | None, *, one: bool = False) -> Rows:
        """One page of a list (or one object), compared."""
        rows: Sequence[Any] = ()
        if where is None:
            self._met.append(compare(shape, ()))
            return ()
        self._say(f"first contact: {shape.name}")
        try:
            body = self._connection.graph.get(where)
            rows = [body] if one else _listed(body)
        except _FATAL:
            raise
        except ObjectNotFound:
            rows = ()
        except ServiceError as error:
            self._met.append(unread(shape, error.message))
            return ()
        self._met.append(compare(shape, rows))
        return tuple(rows)


def _listed(body: Mapping[str, Any]) -> list[Row]:
    rows = body.get("value")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ServiceError("Graph answered no list of objects", code="unexpected-answer")
    return rows


def _first(rows: Iterable[Row], name: str, like: Callable[[Row], bool] = lambda row: True) -> str:
    """The first text that there is in a column, of the rows that are like this; empty where there is none."""
    found = (value for row in rows if like(row) and isinstance(value := column(row, name), str) and value)
    return next(found, "")
