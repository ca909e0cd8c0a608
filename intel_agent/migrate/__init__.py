"""From the old plugins to this agent: their resources read, an equal values file of our chart made of them.

`migrated` does it. Nothing here asks a cluster: the objects come from files, or from kubectl's output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from intel_agent import config
from intel_agent.config import Config
from intel_agent.config.schema import Json, entries, items
from intel_agent.errors import AgentError, ConfigError
from intel_agent.migrate.charts import CHARTS
from intel_agent.migrate.kinds import reference
from intel_agent.migrate.model import Branch, Note, plain
from intel_agent.migrate.objects import objects
from intel_agent.migrate.placement import values
from intel_agent.migrate.resources import found
from intel_agent.migrate.text import scalar, shown
from intel_agent.migrate.written import written

__all__ = ["CHARTS", "Migration", "Note", "migrated", "reference"]


@dataclass(frozen=True, slots=True)
class Migration:
    """A values file, and what could not be put into it."""

    text: str
    values: Mapping[str, Json]
    notes: tuple[Note, ...]


def migrated(
    texts: Iterable[tuple[str, str]], *, chart: str | None = None, keep_hardware_labels: bool = False
) -> Migration:
    """Return the values that are equal to what stands in `texts`, pairs of a source's name and its text.

    Raises:
        AgentError: a text cannot be read, or there is nothing in any of them.
    """
    given = [each for source, text in texts for each in objects(text, shown(source))]
    if not given:
        raise AgentError("nothing was given: no object and no values in any of the files")
    each_found = [found(each, chart) for each in given]
    plugins = [plugin for each in each_found for plugin in each.plugins]
    tree, notes = values(plugins, keep_hardware_labels=keep_hardware_labels)
    every = (*(note for each in each_found for note in each.notes), *notes)
    whole = Branch(tree, tuple(_head(every)))
    data = entries(plain(whole))
    _check(data)
    return Migration(written(whole), data, every)


def _head(notes: tuple[Note, ...]) -> Iterable[str]:
    yield "Values of the chart intel-agent, made by `intel-agent migrate`."
    if notes:
        yield from ("", "Not carried over:", *(f"  {each}" for each in notes))


def _check(data: Mapping[str, Json]) -> None:
    """Make sure that the agent takes what is printed, on every node.

    Raises:
        AgentError: it does not, which is a mistake of this program.
    """
    known = {each.encode_name for each in msgspec.structs.fields(Config)}
    everywhere: Json = {key: value for key, value in data.items() if key in known}
    overrides = [entries(each) for each in items(data.get("nodeOverrides"))]
    somewhere: list[Json] = [{"devices": _laid_over(entries(data["devices"]), each)} for each in overrides]
    for each in (everywhere, *somewhere):
        try:
            config.parse(scalar(each), "values")
        except ConfigError as error:
            raise AgentError(f"what would be printed cannot be used, please report this: {error}") from error


def _laid_over(devices: Mapping[str, Json], override: Mapping[str, Json]) -> Json:
    laid = dict(devices)
    for section, keys in entries(override.get("devices")).items():
        laid[section] = {**entries(laid.get(section)), **entries(keys)}
    return laid
