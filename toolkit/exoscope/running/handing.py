"""What a run hands over: a plan's credential steps, their places checked before anything is made; and what was handed over, lent
to proofs that ask Graph as the app itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from exoscope import system
from exoscope.entra import Tokens
from exoscope.entra.certificates import KeyPair
from exoscope.entra.credentials import credential_policy, find_application
from exoscope.model import Plan, Secret, Step
from exoscope.outcome import BadInput, ExoscopeError, Refused, ServiceError
from exoscope.profile import AppCredential, Profile, SecretRef
from exoscope.profile.given import is_guid
from exoscope.reading import Connection
from exoscope.running.credentials import Made, Maker
from exoscope.running.handed import Handed, Ledger
from exoscope.running.placing import Place, Screen, check_place

PFX = (".pfx", ".p12")


class Nobody:
    """A screen before which nobody sits."""

    def interactive(self) -> bool:
        """Nobody is there."""
        return False

    def show_once(self, what: str, value: Secret) -> None:
        """Raises BadInput."""
        raise BadInput("there is no terminal to show a secret on", code="no-terminal")

    def reveal(self, value: Secret) -> None:
        """Raises BadInput."""
        raise BadInput("there is nobody to show a secret to", code="no-terminal")


class Hands:
    """The hands of one desk. ``state``: the folder in which is noted what was handed over. ``scratch``: a folder that every
    credential goes to instead of its place (a rehearsal's, which hands nothing over).
    """

    def __init__(self, state: Path, screen: Screen | None = None, scratch: Path | None = None) -> None:
        self._state, self._screen, self._scratch = state, screen or Nobody(), scratch

    def check(self, plan: Plan, begun: Callable[[Step], bool]) -> None:
        """Can each credential of a plan be put into its place? ``begun``: steps that a process of the run began already.

        Raises BadInput naming the place; nothing was made then.
        """
        for step in plan.steps:
            if step.target.kind == "credential" and step.after is not None and not begun(step):
                try:
                    check_place(self._place(step), self._screen)
                except BadInput as error:
                    raise BadInput(
                        f"{step.id} ({step.title}): {error.message}. Nothing was made.",
                        code=error.code,
                        next=error.next,
                    ) from None

    def allowed(self, connection: Connection, left: Sequence[Step]) -> None:
        """Does the tenant's policy, as far as it can be read, let each credential that is still to be made live so long?

        Raises Refused; nothing was made then. Where the policy cannot be read, Entra decides when it is made.
        """
        steps = [step for step in left if step.target.kind == "credential" and step.after is not None]
        if not steps:
            return
        try:
            policy = credential_policy(connection.graph)
        except ServiceError:
            return
        if policy is None:
            return
        for step in steps:
            secret, days = step.target.key["kind"] == "secret", int(step.target.key["days"])
            if secret and not policy.secrets:
                raise Refused(
                    "the tenant's app management policy lets no app have a client secret. Nothing was made.",
                    code="secrets-not-allowed",
                    next="Say kind: certificate in connector.yaml, and plan again.",
                )
            longest = policy.secret_lifetime if secret else policy.certificate_lifetime
            if longest is not None and days > longest.days:
                raise Refused(
                    f"the tenant's app management policy does not let a {step.target.key['kind']} live for {days} days. "
                    "Nothing was made.",
                    code="lifetime-not-allowed",
                    next=f"Say lifetime: {longest.days}d in connector.yaml, and plan again.",
                )

    def make(
        self,
        connection: Connection,
        step: Step,
        run: str,
        ends: datetime,
        say: Callable[[str], None],
    ) -> str:
        """Make what a step hands over, or find what an earlier process of this run handed over. Returns its key id.

        The app is asked about as itself with it from then on. Raises as :meth:`exoscope.running.credentials.Maker.secret`.
        """
        app_id = step.target.key["app_id"]
        maker = self._maker(connection, app_id, run, say)
        maker.settle()
        own = [each for each in maker.held.entries if each.run == run or each.run.startswith(f"{run}-")]
        done = [each for each in own if each.stage == "handed-over" and each.key_id]
        if done:
            return str(done[-1].key_id)
        if own:
            say("What this run made before was lost with the process that made it: another one is made.")
            # A name of its own: what shows up late under the lost one's is known for what it is, and removed.
            maker.run = f"{run}-{len(own) + 1}"
        made = self._made(maker, step, ends)
        maker.seen(made)
        if made.credential is not None:
            maker.prove(made.credential)
            connection.tokens.give(app_id, made.credential)
        return str(made.entry.key_id)

    def removed(self, connection: Connection, app_id: str, key_id: str | None) -> None:
        """Note that a credential is gone; None: the app itself is, and all it had."""
        ledger = Ledger(self._state, connection.prove_tenant().id)
        held = ledger.of(app_id)
        for each in held.entries:
            mine = key_id is None or (each.key_id is not None and each.key_id.casefold() == key_id.casefold())
            if mine and each.stage == "handed-over":
                held = ledger.put(held, replace(each, stage="removed"))

    def _made(self, maker: Maker, step: Step, ends: datetime) -> Made:
        place = self._place(step)
        if step.target.key["kind"] == "certificate":
            return maker.certificate(place, ends=ends, pfx=place.where.casefold().endswith(PFX))
        return maker.secret(place, ends=ends)

    def _place(self, step: Step) -> Place:
        key = step.target.key
        if self._scratch is not None:
            return Place("file", str(self._scratch / f"{step.id}{Path(key['where']).suffix}"))
        kinds: Mapping[str, Place] = {
            "file": Place("file", key["where"]),
            "keyring": Place("keyring", key["where"]),
            "terminal": Place("terminal"),
        }
        return kinds[key["place"]]

    def _maker(self, connection: Connection, app_id: str, run: str, say: Callable[[str], None]) -> Maker:
        def sign_in(app: str, credential: Secret | KeyPair) -> None:
            tokens = Tokens(connection.profile, connection.clock, say)
            tokens.give(app, credential)
            tokens.app(app, fresh=True)

        return Maker(
            connection.graph_writes,
            Ledger(self._state, connection.prove_tenant().id),
            find_application(connection.graph_writes, app_id),
            run=run,
            clock=connection.clock,
            screen=self._screen,
            sign_in=sign_in,
            say=say,
        )


def lent(profile: Profile, state: Path) -> Profile:
    """The profile with what was handed over here for apps it names no credential of, where that lies in its place still.

    Nothing is read but the notes of it. Notes that cannot be read lend nothing: who needs them says so.
    """
    found: dict[str, AppCredential] = {}
    folder = state / "credentials"
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            held = msgspec.json.decode(system.read_private(path), type=Handed)
        except (msgspec.DecodeError, ExoscopeError):
            continue
        if is_guid(profile.tenant) and held.tenant_id != profile.tenant.casefold():
            continue  # a secret goes to the authority of the tenant that it was made in, and to no other's
        credential = _credential(held)
        if credential is not None and profile.credential(held.app_id) is None:
            found[held.app_id.casefold()] = credential
    return replace(profile, apps={**profile.apps, **found}) if found else profile


def _credential(held: Handed) -> AppCredential | None:
    entry = held.latest()
    if entry is None or entry.where is None or entry.given:
        return None
    if entry.place == "keyring":
        return AppCredential(secret=SecretRef("keyring", entry.where, Path()))
    path = Path(entry.where)
    if entry.place != "file" or not path.exists():
        return None
    return (
        AppCredential(secret=SecretRef("file", str(path), path.parent))
        if entry.kind == "secret"
        else AppCredential(certificate=path)
    )
