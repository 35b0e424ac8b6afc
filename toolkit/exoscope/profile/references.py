"""Secret references, read when they are needed and never before. No error repeats what it read."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
from collections.abc import Mapping

from exoscope import system
from exoscope.model import Secret
from exoscope.outcome import BadInput
from exoscope.profile.nouns import SecretRef

COMMAND_SECONDS = 120


def resolve(ref: SecretRef, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret a reference names; one trailing newline is not part of it.

    Raises BadInput when it is missing, empty, unreadable, or (file) readable by others.
    """
    read = {"env": _env, "file": _file, "keyring": _keyring, "exec": _exec}[ref.scheme]
    return _whole(ref, read(ref, os.environ if environ is None else environ))


def resolve_open(ref: SecretRef, environ: Mapping[str, str] | None = None) -> Secret:
    """As :func:`resolve`, but a file may be readable by others: a platform writes its tokens with a mode of its own choice (a
    projected token of Kubernetes belongs to root), and they live minutes.
    """
    if ref.scheme != "file":
        return resolve(ref, environ)
    try:
        data = (ref.base / ref.text).expanduser().read_bytes()
    except OSError as error:
        raise BadInput(f"the token {ref} cannot be read: {error.strerror}") from None
    return _whole(ref, _decoded(ref, data))


def _whole(ref: SecretRef, text: str) -> Secret:
    for end in ("\r\n", "\n"):
        if text.endswith(end):
            text = text[: -len(end)]
            break
    if not text:
        raise BadInput(f"the secret {ref} is empty")
    return Secret(text, str(ref))


def _env(ref: SecretRef, environ: Mapping[str, str]) -> str:
    try:
        return environ[ref.text]
    except KeyError:
        raise BadInput(f"the secret {ref}: this environment variable is not set") from None


def _file(ref: SecretRef, environ: Mapping[str, str]) -> str:
    return _decoded(ref, system.read_private((ref.base / ref.text).expanduser()))


def _decoded(ref: SecretRef, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"the secret {ref} is not UTF-8 text") from None


def _keyring(ref: SecretRef, environ: Mapping[str, str]) -> str:
    service, _, user = ref.text.partition("/")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise BadInput(f"the secret {ref}: keyring is not installed", next="pip install exoscope[keyring]") from None
    try:
        found = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own; only their kind may be told
        raise BadInput(f"the secret {ref}: the keyring answered {type(error).__name__}") from None
    if found is None:
        raise BadInput(f"the secret {ref}: the keyring does not hold it")
    return str(found)


def _exec(ref: SecretRef, environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            shlex.split(ref.text),
            cwd=ref.base,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"the secret {ref}: the command did not end in {COMMAND_SECONDS} s") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"the secret {ref}: the command could not be started ({type(error).__name__})") from None
    if done.returncode:
        raise BadInput(f"the secret {ref}: the command ended with {done.returncode}; its output is not shown")
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"the secret {ref}: the command's output is not UTF-8 text") from None
