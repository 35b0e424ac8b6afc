"""``exoscope init``: the first profile, in a conversation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from exoscope.cli import changing, frame
from exoscope.cli.printing import plain
from exoscope.outcome import BadInput, Refused

if TYPE_CHECKING:
    from exoscope.exchange.roads import Choice
    from exoscope.jobs.init import SignIn
    from exoscope.model.tenant import Cloud, Tenant
    from exoscope.profile import Endpoints, Kind, Profile

KINDS = ("interactive", "device-code", "certificate", "secret", "managed-identity", "federated")
ASKED = {
    "person": 'Client id (an app registration of yours, or "microsoft" for the clients of Microsoft\'s own modules)',
    "client_id": "Client id of the operator's app registration",
    "certificate": "File with the operator's certificate and key (PEM or PFX)",
    "secret": "Where its secret is (env:NAME, file:PATH, keyring:SERVICE/USER or exec:COMMAND)",
    "federated": "Whose token (github-actions, azure-pipelines, or env:, file:, exec:)",
}


@frame.command(
    "init", short_help="Write the first profile: find the tenant, choose the road, sign in, look at the set-up."
)
@click.option("--tenant", metavar="DOMAIN", help="A domain of the tenant, or its id.")
@click.option("--cloud", metavar="C", help="worldwide, gcc-high, dod or china; else as the tenant's authority says.")
@click.option("--sign-in", "kind", type=click.Choice(KINDS), help="How the operator signs in.")
@click.option("--client-id", metavar="ID", help="The operator's app registration.")
@click.option("--certificate", metavar="FILE", help="With --sign-in certificate.")
@click.option("--secret", metavar="REF", help="With --sign-in secret: where the secret is, never the secret.")
@click.option("--federated", metavar="REF", help="With --sign-in federated.")
@click.option("--account", metavar="NAME", help="The account that is expected, for people.")
@click.option(
    "--endpoints",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PROFILE",
    help="Take authority, Graph, Exchange and CA from this profile: a sandbox's, to try it on.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("exoscope.toml"),
    metavar="FILE",
    help="The profile; exoscope.toml here where nothing is said. Never written over.",
)
@frame.road_yes_option
@frame.state_option
@frame.json_option
def command(
    tenant: str | None,
    cloud: str | None,
    kind: str | None,
    client_id: str | None,
    certificate: str | None,
    secret: str | None,
    federated: str | None,
    account: str | None,
    endpoints: Path | None,
    output: Path,
    yes: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """Write the first profile, in a conversation: find the tenant and its cloud, choose the road to Exchange and say why, sign in,
    write exoscope.toml, and look at the set-up as `exoscope doctor` does.

    What an option says is not asked; without a terminal the options must say everything. Nothing is changed in the tenant. The
    profile is written once the sign-in has shown that it is this tenant; whatever doctor finds then, it stays. Exit as of doctor.
    """
    from exoscope import system
    from exoscope.cli import doctor
    from exoscope.jobs.init import First, profile_of, profile_text

    if output.exists():
        raise BadInput(f"{output} is there already", next="Edit it, or name another file with -o.")
    own = None if endpoints is None else _own(endpoints)
    domain = tenant or _ask("A domain of your tenant", "--tenant")
    found = _discovered(domain, cloud, own)
    road = _road(yes=yes)
    first = First(
        found[0], domain, found[1], road, _sign_in(kind, client_id, certificate, secret, federated, account), own=own
    )
    proven = _proven(profile_of(first, output))
    if proven.id.casefold() != first.tenant_id:
        raise BadInput(f"signed in to the tenant {proven.id}, and {domain} belongs to {first.tenant_id}")
    first = First(first.tenant_id, domain, first.cloud, road, first.sign_in, proven.domain, own)
    profile = profile_of(first, output)
    system.write_private(output, profile_text(first).encode("utf-8"))
    frame.say(f"{output} is written: tenant {proven.domain} ({proven.id}), {first.cloud}. Now your set-up:")
    doctor.finish(doctor.examined(profile, state, admin_api=yes), as_json=as_json)


def _ask(
    question: str, option: str, default: str | None = None, *, right: Callable[[str], object] | None = None
) -> str:
    """An answer from the terminal, asked for until it is ``right``. Raises UsageError where there is no terminal."""
    if not frame.interactive():
        raise click.UsageError(f"there is no terminal to ask on: give {option}")

    def taken(answer: str) -> str:
        try:
            if right is not None:
                right(answer.strip())
        except BadInput as error:
            raise click.UsageError(error.message) from None  # click says it and asks again
        return answer.strip()

    frame.clear()
    answer: str = click.prompt(question, default=default, err=True, value_proc=taken)
    return answer


def _one_of(words: Iterable[str]) -> Callable[[str], None]:
    def right(answer: str) -> None:
        if answer not in words:
            raise BadInput(f"it must be one of {', '.join(words)}")

    return right


def _right(name: str) -> Callable[[str], object] | None:
    """What an answer to one of the questions of ASKED must be, where that can be told at once. It never repeats the answer."""
    from exoscope.profile import MICROSOFT
    from exoscope.profile.given import is_guid, reference

    def client(answer: str) -> None:
        if answer != MICROSOFT and not is_guid(answer):
            raise BadInput("it must be an application (client) id, a Guid")

    if name == "secret":
        return lambda answer: reference(answer, "it")
    return client if name == "client_id" else None


def _own(path: Path) -> Endpoints:
    from exoscope.profile import load_profile

    ends = load_profile(path, os.environ).endpoints
    if not ends.own:
        raise BadInput(f"{path} has no [endpoints]", next="Leave --endpoints out: the cloud's own are used.")
    return ends


def _discovered(domain: str, cloud: str | None, own: Endpoints | None) -> tuple[str, Cloud]:
    """The tenant's id and cloud; asked for where its authority does not say which. Raises BadInput, Transient."""
    from exoscope.catalog import cloud as known
    from exoscope.entra.discovery import asker, discover, known_authorities

    given = None if cloud is None else cast("Cloud", known(cloud).name)
    authorities: dict[str, tuple[Cloud, ...]]
    authorities = known_authorities() if own is None else {own.authority: (given or "worldwide",)}
    found = discover(domain, asker(authorities, None if own is None else own.ca), authorities=authorities)
    if given is not None:
        if given not in found.clouds:
            raise BadInput(f"{domain} is in {' or '.join(found.clouds)}, not in {given}", next="Leave --cloud out.")
        return found.tenant_id, given
    if len(found.clouds) > 1:
        frame.say(f"The tenant's authority serves {' and '.join(found.clouds)}, and does not say which it is.")
        return found.tenant_id, cast("Cloud", known(_ask("Which cloud", "--cloud", right=_one_of(found.clouds))).name)
    frame.say(f"Tenant {found.tenant_id}, cloud {found.clouds[0]}.")
    return found.tenant_id, found.clouds[0]


def _road(*, yes: bool) -> Choice:
    """The road, said with its reason. Raises BadInput, Refused where the admin API is not wanted."""
    from exoscope.exchange import roads
    from exoscope.exchange.trying import look

    choice = roads.choose(look(os.environ, lambda text: frame.passing(plain(text))))
    frame.say(plain(f'Road to Exchange: "{choice.transport.kind}". {choice.reason}.'))
    if choice.asks and not yes:
        if not frame.interactive():
            raise roads.not_approved(choice, "--yes")
        try:
            changing.ask(f"Take Exchange's admin API? {roads.UNDOCUMENTED}.")
        except Refused as refused:
            again = (
                "Install ExchangeOnlineManagement for PowerShell 7, or write a gateway into [transport]: docs/roads.md."
            )
            raise Refused(refused.message, code=refused.code, next=again) from None
    return choice


def _sign_in(
    kind: str | None,
    client_id: str | None,
    certificate: str | None,
    secret: str | None,
    federated: str | None,
    account: str | None,
) -> SignIn:
    from exoscope.jobs.init import PEOPLE, SignIn

    if kind is None:
        kind = _ask(f"How do you sign in ({', '.join(KINDS)})", "--sign-in", "interactive", right=_one_of(KINDS))
    said = SignIn(cast("Kind", kind), client_id, certificate, secret, federated, account)
    given = {"certificate": certificate, "secret": secret, "federated": federated}
    for name, value in given.items():
        if value is not None and kind != name:
            raise click.UsageError(f"--{name} goes with --sign-in {name}")
    if account is not None and kind not in PEOPLE:
        raise click.UsageError("--account is for people who sign in")
    answers = {
        name: _ask(
            ASKED["person" if name == "client_id" and kind in PEOPLE else name],
            f"--{name.replace('_', '-')}",
            right=_right(name),
        )
        for name in said.missing()
    }
    return SignIn(
        said.kind,
        answers.get("client_id", client_id),
        answers.get("certificate", certificate),
        answers.get("secret", secret),
        answers.get("federated", federated),
        account,
    )


def _proven(profile: Profile) -> Tenant:
    """Sign in, and ask Graph which tenant this is. Raises SignInFailed, WrongTenant and the rest of the family."""
    from exoscope.clock import SystemClock
    from exoscope.reading import Connection

    with Connection(profile, SystemClock(), lambda text: frame.say(plain(text))) as connection:
        return connection.prove_tenant()
