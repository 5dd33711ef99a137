"""Errors whose docstring is the template of their message."""


class DocumentedError(Exception):
    """The base class: formats the docstring of a subclass, in one line, with the values that it names."""

    def __init__(self, **values: object) -> None:
        template = " ".join((self.__doc__ or "").split())
        super().__init__(template.format(**values))
