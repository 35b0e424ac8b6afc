"""exoscope.toml: what is taken, what is refused and on which line, and that no refusal repeats a secret."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope.model import Secret
from exoscope.outcome import BadInput
from exoscope.profile import (
    AdminApiRoad,
    LocalPwsh,
    SecretRef,
    find_profile,
    load_profile,
    loads_profile,
    on_loopback,
    resolve,
    state_dir,
)

BASE = """\
tenant = "contoso.onmicrosoft.com"
cloud = "worldwide"
[transport]
kind = "gateway"
url = "https://gateway.contoso.com:5986/wsman"
auth = "negotiate"
username = "svc"
password = "env:GATEWAY"
[operator]
client_id = "11111111-1111-1111-1111-111111111111"
secret = "file:operator.secret"
[apps."22222222-2222-2222-2222-222222222222"]
secret = "env:APP"
[waits]
cache = 7200
"""
REFUSED = yaml.safe_load((Path(__file__).parents[1] / "data" / "profile" / "refused.yaml").read_text(encoding="utf-8"))


def loads(text: str) -> Any:
    return loads_profile(text.encode(), Path("here/exoscope.toml"))


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["with"].splitlines()[0] if case["with"] else "removed")
def test_what_is_refused_names_its_line_and_no_secret(case: dict[str, Any]) -> None:
    text = BASE.splitlines()
    text[case["line"] - 1] = case["with"] + ("\n" + case["also"] if "also" in case else "")
    with pytest.raises(BadInput) as refused:
        loads("\n".join(text))
    assert case["words"] in refused.value.message
    assert f"line {case.get('at', case['line'])}" in refused.value.message
    assert case.get("never", "\0") not in refused.value.message + refused.value.next


def test_what_is_taken() -> None:
    profile = loads("\ufeff" + BASE)
    assert profile.tenant == profile.organization == "contoso.onmicrosoft.com"
    assert profile.transport is not None
    assert profile.transport.configuration == "Microsoft.PowerShell"
    assert profile.operator is not None
    assert str(profile.operator.secret) == "file:operator.secret"
    assert profile.credential("22222222-2222-2222-2222-222222222222".upper()) is not None
    assert profile.credential("33333333-2222-2222-2222-222222222222") is None
    assert not profile.endpoints.own
    assert profile.endpoints.graph == "https://graph.microsoft.com"
    assert (profile.waits.cache, profile.waits.token) == (7200, 5400)
    assert (profile.waits.managed_identity, profile.waits.long_token) == (86400, 100800)


PERSON = 'client_id = "11111111-1111-1111-1111-111111111111"\n'


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (PERSON + 'kind = "interactive"', "interactive"),
        ('client_id = "microsoft"\nkind = "interactive"\ncache = "encrypted"', "interactive"),
        (PERSON + 'kind = "device-code"\naccount = "a@contoso.com"\ncache = "file"', "device-code"),
        (PERSON + "device_code = true", "device-code"),
        (PERSON + 'kind = "device-code"\ndevice_code = true', "device-code"),
        (PERSON + 'kind = "certificate"\ncertificate = "c.pem"', "certificate"),
        (PERSON + 'secret = "env:A"', "secret"),
        ("managed_identity = true", "managed-identity"),
        ('kind = "managed-identity"', "managed-identity"),
        (PERSON + 'federated = "github-actions"', "federated"),
        (PERSON + 'federated = "exec:print-token"', "federated"),
        (
            PERSON + 'federated = "azure-pipelines"\nservice_connection = "44444444-4444-4444-4444-444444444444"',
            "federated",
        ),
        (PERSON + 'kind = "interactive"\npartner = true', "interactive"),
    ],
)
def test_ways_of_signing_in(keys: str, kind: str) -> None:
    head = BASE.split("[operator]")[0]
    profile = loads(f"{head}[operator]\n{keys}\n")
    assert profile.operator is not None
    assert profile.operator.kind == kind
    both = loads(f"{head}[operator]\n{PERSON}secret = 'env:A'\n[operator.graph_writes]\n{keys}\n").operator
    assert (both.kind, both.graph_writes) == ("secret", profile.operator)


def test_where_people_of_other_tenants_and_clouds_sign_in() -> None:
    person = '[operator]\nkind = "interactive"\nclient_id = "microsoft"\n'
    guid = 'tenant = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"\n'
    with pytest.raises(BadInput, match=r"line 5: operator\.partner needs organization"):
        loads(f"{guid}{person}partner = true\n")
    assert loads(f'{guid}organization = "c.onmicrosoft.com"\n{person}partner = true\n').operator.partner
    with pytest.raises(BadInput, match=r"line 5: operator\.client_id must be an app registration of yours"):
        loads(f'{guid}cloud = "china"\n{person}')
    assert loads(f'{guid}cloud = "dod"\n{person}').operator.client_id == "microsoft"


def test_what_a_token_for_exchange_is_asked_for() -> None:
    ends = '[endpoints]\nauthority = "https://a"\ngraph = "https://g"\nexchange = "https://e"\n'
    assert loads(f'tenant = "c.cn"\n{ends}').endpoints.exchange_resource is None
    assert loads(f'tenant = "c.cn"\n{ends}exchange_resource = "https://e"').endpoints.exchange_resource == "https://e"


LOCAL = """\
tenant = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
state = "state"
[transport]
kind = "gateway"
url = "{wsman}"
auth = "basic"
username = "a"
password = "file:p"
ca = "ca.pem"
[endpoints]
authority = "https://127.0.0.1:1/7A4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
graph = "https://LOCALHOST:2/v1.0/"
exchange = "{exchange}"
ca = "ca.pem"
[waits]
cache = 0.5
token = 1
"""


def local(wsman: str = "https://127.0.0.1:4/wsman", exchange: str = "https://[::1]:3") -> Any:
    return loads(LOCAL.format(wsman=wsman, exchange=exchange))


def test_short_waits_where_every_endpoint_is_loopback() -> None:
    profile = local()
    assert profile.waits.cache == 0.5
    assert profile.endpoints.own
    assert profile.endpoints.authority == "https://127.0.0.1:1"
    assert profile.endpoints.graph == "https://localhost:2"
    here = Path("here").resolve()
    assert profile.endpoints.ca == here / "ca.pem"
    assert profile.state == here / "state"
    assert on_loopback(profile)


def test_a_gateway_elsewhere_is_not_loopback_though_every_endpoint_is() -> None:
    text = LOCAL.replace("cache = 0.5\ntoken = 1\n", "")
    profile = loads(text.format(wsman="https://gateway.contoso.com/wsman", exchange="https://127.0.0.1:3"))
    assert not on_loopback(profile)


@pytest.mark.parametrize(
    "road",
    [
        {"wsman": "https://gateway.contoso.com/wsman"},
        {"exchange": "https://127.0.0.1.contoso.com"},
        {"exchange": "https://128.0.0.1"},
    ],
)
def test_one_endpoint_elsewhere_forbids_short_waits(road: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="at least"):
        local(**road)


@pytest.mark.parametrize("graph", ["http://127.0.0.1:2", "https://127.0.0.1:2/beta", "https://127.0.0.1:2/a/b"])
def test_an_endpoint_is_an_https_origin(graph: str) -> None:
    with pytest.raises(BadInput, match=r"endpoints\.graph must be"):
        loads(
            LOCAL.replace("https://LOCALHOST:2/v1.0/", graph).format(
                wsman="https://127.0.0.1/wsman", exchange="https://127.0.0.1"
            )
        )


@pytest.mark.parametrize("auth", ["basic", "certificate"])
def test_credentials_never_go_over_plain_http(auth: str) -> None:
    text = BASE.replace('auth = "negotiate"', f'auth = "{auth}"\ncertificate = "c"\nkey = "k"').replace(
        "https://gateway", "http://gateway"
    )
    with pytest.raises(BadInput, match="must be https://"):
        loads(text)


def test_which_file_is_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_profile(None, {}) is None
    with pytest.raises(BadInput, match="there is no profile") as none:
        load_profile(None, {})
    assert none.value.next.startswith("exoscope init")
    (tmp_path / "exoscope.toml").write_text(BASE)
    assert load_profile(None, {}).path == tmp_path / "exoscope.toml"
    (tmp_path / "other.toml").write_text(BASE)
    assert load_profile(None, {"EXOSCOPE_PROFILE": "other.toml"}).path == tmp_path / "other.toml"
    assert find_profile(Path("third.toml"), {"EXOSCOPE_PROFILE": "other.toml"}) == Path("third.toml")
    with pytest.raises(BadInput, match="cannot be read"):
        load_profile(Path("third.toml"), {})


def test_where_state_lies(tmp_path: Path) -> None:
    profile = local()
    assert state_dir(tmp_path, {"EXOSCOPE_STATE": "e"}, profile) == tmp_path
    assert state_dir(None, {"EXOSCOPE_STATE": "e"}, profile) == Path("e")
    assert state_dir(None, {}, profile) == profile.state
    assert state_dir(None, {}, None).name == "exoscope"


# -- references ---------------------------------------------------------------------------------------------------------


def ref(scheme: Any, text: str, base: Path = Path()) -> SecretRef:
    return SecretRef(scheme, text, base)


def test_secrets_resolve_to_the_one_type_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hunter2\n")
    (tmp_path / "s").chmod(0o600)
    for found in (
        resolve(ref("env", "S"), {"S": "hunter2"}),
        resolve(ref("file", "s", tmp_path)),
        resolve(ref("file", str(tmp_path / "s"))),
        resolve(ref("exec", f"'{sys.executable}' -c 'print(\"hunter2\")'", tmp_path)),
        resolve(ref("exec", "cat s", tmp_path)),
    ):
        assert isinstance(found, Secret)
        assert found.reveal() == "hunter2"
        assert "hunter2" not in f"{found} {found!r} {found.origin}"


def test_only_one_newline_is_not_part_of_a_secret() -> None:
    assert resolve(ref("env", "S"), {"S": " a b \n\r\n"}).reveal() == " a b \n"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_secret_file_that_others_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hunter2")
    (tmp_path / "s").chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        resolve(ref("file", "s", tmp_path))


def script(*lines: str) -> str:
    return f"'{sys.executable}' -c '{'; '.join(lines)}'"


@pytest.mark.parametrize(
    "command",
    [
        script('import sys; print("hunter2"); print("hunter2", file=sys.stderr); sys.exit(3)'),
        script('import sys; sys.stdout.buffer.write(b"hunter2\\xff")'),
        "no-such-command-at-all hunter",
        "echo 'unbalanced",
        script("pass"),
    ],
)
def test_a_command_that_fails_prints_nothing_of_its_output(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput) as refused:
        resolve(ref("exec", command))
    message = refused.value.message.replace(command, "")
    assert "hunter2" not in message
    assert capfd.readouterr() == ("", "")


def test_a_command_goes_through_no_shell(tmp_path: Path) -> None:
    assert resolve(ref("exec", "echo $HOME; touch made", tmp_path)).reveal() == "$HOME; touch made"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reference", "words"),
    [(ref("env", "ABSENT"), "not set"), (ref("env", "EMPTY"), "is empty"), (ref("file", "absent"), "cannot be read")],
)
def test_a_missing_secret_is_named(reference: SecretRef, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        resolve(reference, {"EMPTY": ""})


def test_a_keyring_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(BadInput, match="not installed"):
        resolve(ref("keyring", "exoscope/operator"), os.environ)


def test_a_keyring_is_asked_for_service_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ring:
        @staticmethod
        def get_password(service: str, user: str) -> str | None:
            if user == "boom":
                raise RuntimeError("hunter2")
            return "hunter2" if (service, user) == ("exoscope", "operator") else None

    monkeypatch.setitem(sys.modules, "keyring", Ring)  # type: ignore[arg-type]  # a stand-in with the one function used
    assert resolve(ref("keyring", "exoscope/operator")).reveal() == "hunter2"
    with pytest.raises(BadInput, match="does not hold it"):
        resolve(ref("keyring", "exoscope/other"))
    with pytest.raises(BadInput, match="RuntimeError") as refused:
        resolve(ref("keyring", "exoscope/boom"))
    assert "hunter2" not in str(refused.value)


def test_a_pwsh_on_this_machine_may_be_named() -> None:
    gateway = BASE[BASE.index("[transport]") : BASE.index("[operator]")]
    unnamed = loads(BASE.replace(gateway, '[transport]\nkind = "pwsh"\n'))
    assert unnamed.transport == LocalPwsh(kind="pwsh")
    named = loads(BASE.replace(gateway, '[transport]\nkind = "pwsh"\npath = "tools/pwsh"\n'))
    assert named.transport == LocalPwsh(kind="pwsh", path=Path("here").resolve() / "tools" / "pwsh")


def test_without_a_kind_the_road_is_chosen_and_nothing_else_may_be_said_of_it() -> None:
    gateway = BASE[BASE.index("[transport]") : BASE.index("[operator]")]
    assert loads(BASE.replace(gateway, "")).transport is None
    assert loads(BASE.replace(gateway, "[transport]\n")).transport is None
    for rest in ('path = "pwsh"', 'url = "https://gateway.contoso.com/wsman"'):
        with pytest.raises(BadInput, match=r"line 3: transport needs kind"):
            loads(BASE.replace(gateway, f"[transport]\n{rest}\n"))


def test_the_admin_api_needs_a_kind_and_takes_nothing_else() -> None:
    gateway = BASE[BASE.index("[transport]") : BASE.index("[operator]")]
    assert loads(BASE.replace(gateway, '[transport]\nkind = "admin-api"\n')).transport == AdminApiRoad(kind="admin-api")
    with pytest.raises(BadInput, match=r"transport\.url is not a key"):
        loads(BASE.replace('kind = "gateway"', 'kind = "admin-api"'))
