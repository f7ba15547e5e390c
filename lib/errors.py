"""The one error a user meets: a sentence that names what was wrong and what is allowed."""


class BadInput(ValueError):
    """A parameter, file or model that cannot be used, refused before work starts.

    In a notebook only its sentence is shown, not the calls that led to it.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Diverged(BadInput):
    """A training whose loss is no longer a number."""


def one_of(what: str, value: object, allowed) -> None:
    """Refuse a value that is not among the allowed ones, naming both.

    Raises
    ------
    BadInput
        If ``value`` is not in ``allowed``.

    Examples
    --------
    >>> one_of("strategy", "topp", ["top", "bottom"])
    Traceback (most recent call last):
    lib.errors.BadInput: strategy 'topp' is not known; valid: top, bottom
    """
    if value not in allowed:
        valid = ", ".join(map(str, allowed))
        raise BadInput(f"{what} {value!r} is not known; valid: {valid}")


def within(what: str, value: object, low: float, high: float, kind: type | tuple = int) -> None:
    """Refuse a value that is no number of a kind, or out of range.

    Raises
    ------
    BadInput
        If ``value`` is not a ``kind`` from ``low`` to ``high``; True and False are no numbers.

    Examples
    --------
    >>> within("epochs", 0, 1, 100)
    Traceback (most recent call last):
    lib.errors.BadInput: epochs 0 is out of range; valid: 1 to 100
    """
    wrong = isinstance(value, bool) or not isinstance(value, kind)
    if wrong or not low <= value <= high:
        raise BadInput(f"{what} {value!r} is out of range; valid: {low} to {high:,}")
