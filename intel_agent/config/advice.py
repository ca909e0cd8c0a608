"""What is allowed in a file and most likely a mistake."""

from collections.abc import Iterator, Sequence

import msgspec

from intel_agent.config.file import Loaded
from intel_agent.config.overlay import kinds
from intel_agent.rules import Rule, covering


def warnings(loaded: Loaded) -> Iterator[str]:
    """Yield a sentence, with its place, for each rule that cannot decide on any device of any node."""
    overall = {name: kind.overall for name, kind in kinds(loaded.config.devices).items()}
    for section, path, rules in _lists(loaded):
        for place in range(len(rules)):
            if (earlier := covering(rules, place, overall[section])) is not None:
                first = f"{path}[{earlier}] ({loaded.origin(f'{path}[{earlier}]')})"
                yield (
                    f"{loaded.origin(f'{path}[{place}]')}: warning: {path}[{place}]: "
                    f"never decides: {first} comes first and matches all that it matches"
                )


def _lists(loaded: Loaded) -> Iterator[tuple[str, str, Sequence[Rule]]]:
    """Yield every list of rules in the file, with its kind and its key path."""
    for name, kind in kinds(loaded.config.devices).items():
        yield name, f"devices.{name}.rules", kind.rules
    for place, override in enumerate(loaded.config.node_overrides):
        for name, keys in override.devices.items():
            rules = msgspec.convert(keys.get("rules", ()), tuple[Rule, ...])
            yield name, f"nodeOverrides[{place}].devices.{name}.rules", rules
