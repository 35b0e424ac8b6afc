"""What a script would do: pipelines of operations, each a known cmdlet with parameters it has, in the catalogue's spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec

from exoscope.powershell.cmdlets import ACTION_PREFERENCES, SELECT, Cmdlet, Parameter, find
from exoscope.powershell.literals import Value
from exoscope.powershell.reader import Argument, Command, Reader


class Operation(msgspec.Struct, frozen=True):
    """A cmdlet and its parameters, both in the catalogue's spelling. A switch alone is True.

    Values are texts, booleans, integers, None, tuples, and dicts for hashtables. Two operations are equal when they do
    the same, whatever the order of their parameters.
    """

    cmdlet: str
    parameters: dict[str, Value]


Pipeline = tuple[Operation, ...]


def read(script: str) -> tuple[Pipeline, ...]:
    """The pipelines of a script. Nothing for a script of blanks and comments.

    Raises GuardRefused, with line and column from 1 in code points, for everything that is not known cmdlets with named
    parameters they have, literals, and pipes to Select-Object.
    """
    reader = Reader(script)
    return tuple(_pipeline(reader, commands) for commands in reader.pipelines())


def _pipeline(reader: Reader, commands: tuple[Command, ...]) -> Pipeline:
    operations = []
    for position, command in enumerate(commands):
        cmdlet = find(command.name)
        if cmdlet is None:
            reader.refuse(f"{command.name} is no cmdlet that exoscope knows", command.at)
        if (cmdlet.name == SELECT) != (position > 0):
            reader.refuse(f"a pipe goes to {SELECT} and to nothing else, and {SELECT} stands nowhere else", command.at)
        operations.append(_operation(reader, cmdlet, command))
    return tuple(operations)


def _operation(reader: Reader, cmdlet: Cmdlet, command: Command) -> Operation:
    bound: dict[str, Value] = {}
    for argument in command.arguments:
        parameter = cmdlet.parameter(argument.name)
        if parameter is None:
            reader.refuse(f"{cmdlet.name} has no parameter named exactly -{argument.name}", argument.at)
        if parameter.name in bound:
            reader.refuse(f"-{parameter.name} is given twice", argument.at)
        if parameter.online is False:
            reader.refuse(f"-{parameter.name} of {cmdlet.name} does not exist in Exchange Online", argument.at)
        bound[parameter.name] = _bind(reader, parameter, argument)
    _check_sets(reader, cmdlet, command, bound)
    return Operation(cmdlet.name, bound)


def _bind(reader: Reader, parameter: Parameter, argument: Argument) -> Value:
    name = parameter.name

    def refuse(why: str) -> NoReturn:
        reader.refuse(why, argument.value_at if argument.given else argument.at)

    if parameter.is_switch:
        if not argument.given:
            return True
        if not argument.colon:
            refuse(f"-{name} is a switch: what follows it would be an argument without a name (write -{name}:$false)")
        if not isinstance(argument.value, bool):
            refuse(f"-{name} is a switch: only $true or $false may follow its colon")
        return argument.value
    if not argument.given:
        refuse(f"-{name} needs a value")
    _check_value(parameter, argument.value, refuse)
    return argument.value


def _check_value(parameter: Parameter, value: Value, refuse: Callable[[str], NoReturn]) -> None:
    """What every value of a type must be; text types stay open, for Exchange decides what they mean."""
    if parameter.type == "Boolean" and not isinstance(value, bool):
        refuse(f"-{parameter.name} takes $true or $false")
    if parameter.type == "ActionPreference":
        known = {each.casefold() for each in ACTION_PREFERENCES}
        if not isinstance(value, str) or value.casefold() not in known:
            refuse(f"-{parameter.name} takes one of {', '.join(ACTION_PREFERENCES)}")
    if parameter.type == "Int32" and (isinstance(value, bool) or not isinstance(value, int) or value >= 2**31):
        refuse(f"-{parameter.name} takes a whole number")
    if parameter.name in ("Property", "ExpandProperty"):
        names = value if isinstance(value, tuple) else (value,)
        texts = [each.casefold() for each in names if isinstance(each, str)]
        if len(texts) != len(names):
            refuse(f"-{parameter.name} takes names of properties and nothing that computes")
        if len(set(texts)) != len(texts):
            refuse(f"-{parameter.name} names a property twice, which {SELECT} answers with an error")


def _check_sets(reader: Reader, cmdlet: Cmdlet, command: Command, bound: Mapping[str, Value]) -> None:
    own = {name for name in bound if cmdlet.has(name)}
    fitting = [each for each in cmdlet.sets if own <= each.allowed]
    if not fitting:
        reader.refuse(f"{cmdlet.name} has no set of parameters that holds all of {_list(own)}", command.at)
    if not any(each.mandatory <= own for each in fitting):
        missing = min((each.mandatory - own for each in fitting), key=len)
        reader.refuse(f"{cmdlet.name} needs {_list(missing)} as well", command.at)


def _list(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"-{name}" for name in sorted(names))
