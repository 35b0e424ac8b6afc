"""What every command shares: loading on demand, common options, answers on stdout, errors and exit codes.

A command file defines ``command`` with :func:`command`, calls one room, prints with :func:`answer` or :func:`say`, and ends
with :func:`finish` when the exit code is not 0. Errors travel as :class:`~exoscope.outcome.ExoscopeError`.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from exoscope.outcome import BadInput, Exit, ExoscopeError, Refused, Stopped

SECTIONS = ("Set up", "Look", "Change", "Prove", "Try")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Place:
    """Where a command stands: section of the help, file in this package, one line of help."""

    __slots__ = ("module", "section", "short")

    def __init__(self, section: str, module: str, short: str) -> None:
        self.section = section
        self.module = module
        self.short = short


class Command(click.Command):
    """A command that also takes ``-v`` and ``--log`` after its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _log_options()


def command(name: str, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator: a command of the program."""
    return click.command(name, cls=Command, **attrs)


class Group(click.Group):
    """A command with commands of its own (``sandbox serve``)."""

    command_class = Command


class Program(click.Group):
    """The program: commands are imported when they are run, and listed without importing them."""

    def __init__(self, name: str, places: Mapping[str, Place], **attrs: Any) -> None:
        super().__init__(name, **attrs)
        self.places = places
        self.params += [
            *_log_options(),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="Show the version.",
            ),
        ]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self.places.get(cmd_name)
        if place is None:
            return None
        loaded = importlib.import_module(f"exoscope.cli.{place.module}").command
        if not isinstance(loaded, click.Command):
            raise TypeError(f"{place.module} defines no command")
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in SECTIONS:
            rows = [(name, place.short) for name, place in self.places.items() if place.section == section]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from exoscope._version import __version__

        click.echo(f"exoscope {__version__}")
        ctx.exit()


def _log_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_verbose,
            help="Show what exoscope does, on stderr.",
        ),
        click.Option(
            ["--log"],
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_log_file,
            metavar="FILE",
            help="Append what exoscope does to FILE.",
        ),
    ]


def _logger() -> logging.Logger:
    # Only our own loggers: at DEBUG pypsrp prints whole scripts and their parameters.
    logger = logging.getLogger("exoscope")
    logger.propagate = False
    return logger


def _handler(handler: logging.Handler, level: int) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(level)
    logger = _logger()
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.level or logging.CRITICAL))


def _verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if value:
        _handler(logging.StreamHandler(sys.stderr), logging.DEBUG if value > 1 else logging.INFO)


def _log_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    try:
        handler = logging.FileHandler(value, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{value} cannot be written: {error.strerror}") from None
    _handler(handler, logging.DEBUG)


# -- options that several commands share ---------------------------------------------------------------------------


def json_option(function: Decorated) -> Decorated:
    """``--json``: the answer as JSON on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")(function)


def profile_option(function: Decorated) -> Decorated:
    """``--profile FILE``."""
    return click.option(
        "--profile",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The profile; else EXOSCOPE_PROFILE, else ./exoscope.toml.",
    )(function)


def state_option(function: Decorated) -> Decorated:
    """``--state DIR``."""
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Where journals and locks lie; else EXOSCOPE_STATE, else the profile's, else the user's state folder.",
    )(function)


def yes_option(function: Decorated) -> Decorated:
    """``--yes`` of a command that changes a tenant."""
    return click.option("--yes", is_flag=True, help=f"Do not ask. {_ROAD_YES}")(function)


def road_yes_option(function: Decorated) -> Decorated:
    """``--yes`` of a command that only reads: it answers about the road alone."""
    return click.option("--yes", is_flag=True, help=_ROAD_YES)(function)


_ROAD_YES = (
    "Where the profile names no road and no PowerShell here has Exchange's module, take Exchange's admin API, which Microsoft "
    "does not document."
)


def wait_option(function: Decorated) -> Decorated:
    """``--wait DURATION``, in seconds as a float or None."""
    return click.option(
        "--wait", type=Duration(), help="Where time must pass, wait up to this long (30s 90m 2h 7d), quietly."
    )(function)


def until_option(function: Decorated) -> Decorated:
    """``--until ID``."""
    return click.option(
        "--until", metavar="STAGE", help="Run through this stage and its gate, and no further; resume goes on."
    )(function)


def all_option(function: Decorated) -> Decorated:
    """``--all``, as ``everything``."""
    return click.option(
        "--all", "everything", is_flag=True, help="At gates ask every witness about every mailbox, not about a sample."
    )(function)


def unseen_option(function: Decorated) -> Decorated:
    """``--unseen-ok`` of a command that changes a tenant."""
    return click.option(
        "--unseen-ok",
        is_flag=True,
        help="Go on in a tenant whose answers were never met, or are not as expected (exoscope doctor says which).",
    )(function)


def only_option(function: Decorated) -> Decorated:
    """``--only exchange|graph``."""
    return click.option(
        "--only",
        type=click.Choice(["exchange", "graph"]),
        help="Change nothing but this service; stop where the other one comes next (exit 3), and find it done by reading later.",
    )(function)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """``30s 90m 2h 7d`` (also ``1.5h``, ``1h30m``), as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[smhd])+", text):
            self.fail(f"{value!r} is not a duration; write 30s, 90m, 2h or 7d", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)([smhd])", text))


# -- talking -------------------------------------------------------------------------------------------------------


class _Passing:
    """How much of a terminal's last line is progress that the next line overwrites."""

    width = 0


def clear() -> None:
    """Wipe progress that only passes, before anything else is printed."""
    if _Passing.width:
        click.echo(f"\r{' ' * _Passing.width}\r", err=True, nl=False)
        _Passing.width = 0


def say(text: str = "") -> None:
    """One line of talk, on stderr."""
    clear()
    click.echo(text, err=True)


def answer(value: Any) -> None:
    """One JSON answer on stdout, as one line. ``value``: Structs, dicts, lists of them."""
    import msgspec

    clear()
    click.echo(msgspec.json.encode(value).decode("utf-8"))


def progress(text: str) -> None:
    """One line of progress: on a terminal only, so that pipes stay quiet."""
    if sys.stderr.isatty():
        say(f"  {text}")


def passing(text: str) -> None:
    """Progress in small steps (one mailbox of many): on a terminal only, each in the place of the one before."""
    if not sys.stderr.isatty():
        return
    if any(type(handler) is logging.StreamHandler for handler in _logger().handlers):
        # With -v other lines come between, which would run into this one.
        say(f"  {text}")
        return
    clear()
    shown = f"  {text}"[: shutil.get_terminal_size().columns - 1]
    click.echo(shown, err=True, nl=False)
    _Passing.width = len(shown)


def interactive() -> bool:
    """Is somebody there who can be asked?"""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def read_file(path: Path) -> bytes:
    """A file's bytes. Raises BadInput naming the file when it cannot be opened."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}", next="Name a file that exists and is yours."
        ) from None


def not_over(output: Path, *inputs: Path | None) -> None:
    """Raises BadInput where ``output`` would overwrite a file that the command reads."""
    for each in inputs:
        try:
            same = each is not None and output.samefile(each)
        except OSError:
            continue  # one of the two is not there
        if same:
            raise BadInput(f"{output} would overwrite {each}, which is read here", next="Name another file to write.")


def finish(exit: Exit) -> NoReturn:
    """End the command with this exit code."""
    raise click.exceptions.Exit(int(exit))


# -- running -------------------------------------------------------------------------------------------------------


def run(program: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and end the process with the exit code that the outcome has."""
    if type(sys.stdout) is io.TextIOWrapper:
        sys.stdout = _Leaving(sys.stdout)
    if type(sys.stderr) is io.TextIOWrapper:
        sys.stderr = _Leaving(sys.stderr)
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    sys.exit(_outcome(program, words, as_json=as_json))


class _Leaving(io.TextIOWrapper):
    """An output whose reader may leave early (``exoscope verify … | head``): the rest is dropped, the exit code stays what
    the outcome is. UTF-8 whatever the locale; a lone surrogate in talk must not end the program."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        buffering = stream.line_buffering
        super().__init__(stream.detach(), encoding="utf-8", errors="backslashreplace", line_buffering=buffering)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._left(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._left(error)

    def _left(self, error: OSError) -> None:
        # EINVAL is what Windows says of a pipe that nobody reads.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def _outcome(program: click.Command, words: list[str], *, as_json: bool) -> int:
    try:
        code = program.main(args=words, prog_name="exoscope", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        if as_json:
            _json_error("usage", error.format_message(), changed=False, next="See --help.")
        error.show(sys.stderr)
        return int(Exit.USAGE)
    except click.ClickException as error:
        if as_json:
            _json_error("bad-input", error.format_message(), changed=False, next="")
        error.show(sys.stderr)
        return int(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted. Nothing was changed.")
        return int(Exit.INTERRUPTED)
    except ExoscopeError as error:
        return report_error(error, as_json=as_json)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last catch: whatever it is becomes exit 6, never a traceback
        # SystemExit: click ends with 1, which here means violated, where a socket says EPIPE.
        _logger().debug("internal error", exc_info=True)
        message = f"internal error: {type(error).__name__}"
        if as_json:
            _json_error("internal-error", message, changed=False, next="Run again with -vv for the details.")
        say(f"Error: {message}. Nothing was changed. Run again with -vv for the details.")
        return int(Exit.UNKNOWN)
    finally:
        clear()


def report_error(error: ExoscopeError, *, as_json: bool) -> int:
    """Print an error as its reader needs it, and answer its exit code."""
    if as_json:
        _json_error(error.code, error.message, changed=error.changed, next=error.next)
    say(f"Error: {error.message}")
    if isinstance(error, Refused):
        for refusal in error.refusals:
            say(f"  {refusal.code}: {refusal.app + ': ' if refusal.app else ''}{refusal.message}")
    if isinstance(error, Stopped):
        say(f"The run {error.run} stays open.")
    elif not error.changed:
        say("Nothing was changed.")
    if error.next:
        say(error.next)
    return int(error.exit)


def _json_error(code: str, message: str, *, changed: bool, next: str) -> None:
    answer({"error": {"code": code, "message": message, "changed": changed, "next": next}})
