"""What can be wrong with what the image is made of."""


class AssemblyError(Exception):
    """The image cannot be made; the text says why and what to do."""
