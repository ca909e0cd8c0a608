"""What every part of the file has in common."""

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A part of the file."""

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the section beyond its types: key to problem."""
        return {}
