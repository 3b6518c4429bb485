"""The base of everything a user describes: layers, optimizers, initializers."""

from abc import ABC


class Description(ABC):  # noqa: B024  (its kinds have the abstract methods)
    """Immutable, equal by value, printed as it is written.

    A class lists its fields in ``__slots__``, in the order of its constructor, and sets them with ``_set``.
    """

    __slots__ = ()

    def _set(self, **fields):
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        raise AttributeError(f"{type(self).__name__} cannot be changed; make a new one with {name}={value!r}")

    def __delattr__(self, name):
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def _fields(self):
        return {name: getattr(self, name) for kind in reversed(type(self).__mro__)
                for name in kind.__dict__.get("__slots__", ())}

    def __eq__(self, other):
        return type(self) is type(other) and self._fields() == other._fields()

    def __hash__(self):
        return hash((type(self).__name__, tuple(self._fields().values())))

    def __repr__(self):
        from inspect import Parameter, signature

        shown, omitted = [], False
        for name, parameter in signature(type(self)).parameters.items():
            if parameter.kind is Parameter.VAR_POSITIONAL:
                shown += map(repr, getattr(self, name))
                continue
            value = repr(getattr(self, name))
            if value == repr(parameter.default):
                omitted = True
            elif parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and not omitted:
                shown.append(value)
            else:
                shown.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self):
        return self._fields()

    def __setstate__(self, state):
        self._set(**state)
