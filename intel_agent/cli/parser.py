"""Commands and options as data: the parser, the help and the shell completion are made of them."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

Values = argparse.Namespace
AddParser = Callable[..., argparse.ArgumentParser]

DESCRIPTION = """\
Every Intel accelerator of a Kubernetes node, from one process: finds GPUs, NPUs, Gaudi, QAT, SGX,
DSA, IAA, DLB, FPGAs and network functions in /sys and /dev, offers them to kubelet and keeps the
lists true."""

EPILOG = """\
first steps:
  intel-agent demo                      watch it work on a simulated node; needs neither hardware nor root
  intel-agent devices                   what this machine would offer, and what not and why
  intel-agent status                    what the agent of this node holds, and which pods have it
  intel-agent doctor                    why a device is not there, and what to do about it
  intel-agent config show               every setting with its default
  intel-agent run --config agent.yaml   serve this node until SIGTERM

exit codes:
  0  all is well        1  something is wrong; standard error says what
  2  the command line is wrong, or doctor could not look"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option or, without dashes, an argument."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    default: str | float | None = None
    choices: tuple[str, ...] | None = None
    type: Callable[[str], object] = str
    completes: Literal["file", "directory"] | None = None
    several: bool = False
    """Whether there may be more than one value; at least one is needed."""
    flag: bool = False
    """Whether it has no value: it is there or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What stands after `intel-agent`: one word, or two for a command of a group."""

    name: str
    summary: str
    run: Callable[[Values], int]
    description: str = ""
    epilog: str = ""
    options: tuple[Option, ...] = ()


GROUPS = {"config": "check, show and describe the configuration file"}
"""First words of commands with two."""


def parsed(commands: Sequence[Command], arguments: Sequence[str]) -> tuple[Command, Values]:
    """Return the command that is meant and the values of its options.

    Raises:
        SystemExit: help or the version was asked for, or the arguments make no sense.
    """
    parser = argparse.ArgumentParser(
        prog="intel-agent",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"intel-agent {metadata.version('intel-agent')}")
    add_top = _adder(parser)
    adders: dict[str, AddParser] = {}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group and group not in adders:
            adders[group] = _adder(add_top(group, help=GROUPS[group], description=GROUPS[group]))
        _add(adders.get(group, add_top), name, command)
    values = parser.parse_args(arguments)
    return next(each for each in commands if each.name == values.command), values


def _adder(parser: argparse.ArgumentParser) -> AddParser:
    """Return the function that adds a command to `parser`."""
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True).add_parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32)


def _add(add: AddParser, name: str, command: Command) -> None:
    parser = add(
        name,
        help=command.summary,
        description=command.description or command.summary,
        epilog=command.epilog,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command.name)
    for option in command.options:
        if option.flag:
            parser.add_argument(*option.names, help=option.help, action="store_true")
            continue
        parser.add_argument(
            *option.names,
            help=option.help,
            metavar=option.metavar,
            default=option.default,
            choices=option.choices,
            type=option.type,
            nargs="+" if option.several else None,
        )
