"""The filterable properties: the carried table, and what exoscope adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

# Properties that hold a list. The table does not say so; these are the attributes that are multi-valued in Active
# Directory's and Exchange's schema. PrimarySmtpAddress is here because a filter on it also searches every other address.
# fmt: off
_MANY = frozenset({
    "AcceptMessagesOnlyFrom", "AcceptMessagesOnlyFromDLMembers", "ActiveSyncAllowedDeviceIDs",
    "ActiveSyncBlockedDeviceIDs", "AddressListMembership", "AdministrativeUnits", "AggregatedMailboxGuids",
    "Certificate", "CertificateSubject", "Description", "DirectReports", "EmailAddresses",
    "ExtensionCustomAttribute1", "ExtensionCustomAttribute2", "ExtensionCustomAttribute3",
    "ExtensionCustomAttribute4", "ExtensionCustomAttribute5", "GeneratedOfflineAddressBooks", "GrantSendOnBehalfTo",
    "InPlaceHolds", "InPlaceHoldsRaw", "MailTipTranslations", "ManagedBy", "MemberOfGroup", "Members", "ModeratedBy",
    "ObjectClass", "OtherFax", "OtherHomePhone", "OtherTelephone", "PoliciesExcluded", "PoliciesIncluded",
    "PostOfficeBox", "PrimarySmtpAddress", "ProtocolSettings", "PublicFolderContacts", "RejectMessagesFrom",
    "RejectMessagesFromDLMembers", "ResourceCustom", "ResourceMetaData", "ResourceSearchProperties",
    "SMimeCertificate", "UMAddresses", "UMCallingLineIds", "UMDtmfMap", "VoiceMailSettings",
})
# fmt: on


class Property(msgspec.Struct, frozen=True):
    """A property that the documentation lists as filterable.

    ``kind`` is the table's: dn, boolean, string-wildcard, string, smtp-address, guid, enum, integer, bytesize, datetime,
    timespan, bytes or blank-or-not. ``online`` is false for those that only Exchange Server has. ``values`` are the listed
    values of some enums. ``many`` is true where a recipient can hold several values.
    """

    name: str
    kind: str
    online: bool
    values: tuple[str, ...] = ()
    many: bool = False


class _Row(msgspec.Struct, frozen=True):
    name: str
    exchange_online: bool
    kind: str
    values: tuple[str, ...] = ()


class _Table(msgspec.Struct, frozen=True):
    properties: tuple[_Row, ...]


@cache
def table() -> Mapping[str, Property]:
    """Every documented property by its name in lower case. Read from the package's data on first use."""
    raw = files("exoscope").joinpath("data", "filterable_properties.json").read_bytes()
    found = {}
    for row in msgspec.json.decode(raw, type=_Table).properties:
        for name in _names(row.name):
            found[name.lower()] = Property(name, row.kind, row.exchange_online, row.values, name in _MANY)
    return found


def lookup(name: str) -> Property | None:
    """The property of that name, whatever its case, or None where the documentation lists none."""
    return table().get(name.lower())


def spelling(name: str) -> str:
    """The documented spelling where there is one, else the name as given."""
    known = lookup(name)
    return known.name if known else name


def _names(name: str) -> list[str]:
    """``CustomAttribute1 to CustomAttribute15`` is one row of the table for fifteen properties."""
    first, to, last = name.partition(" to ")
    if not to:
        return [name]
    stem = first.rstrip("0123456789")
    return [f"{stem}{number}" for number in range(int(first[len(stem) :]), int(last[len(stem) :]) + 1)]
