"""Which operations the layers use: the plain ones of this lesson, or others of the same names.

A layer asks for its operation by name, ``operations.conv2d``, and does not know which one it gets.
Here are the plain ones to read. A package may offer its own, as `tinyunet.fast` does, which is
tested to give the same results::

    from tinyunet import use_operations

    use_operations("plain")   # or "fast", as at the start
"""

from inspect import isfunction
from types import SimpleNamespace
from typing import Any

from tinyunet.errors import UserError
from tinyunet.nn import functional
from tinyunet.nn.optimizers import SGD, Adam


class Operations:
    """Stands for the operations in use: `operations.relu` is the plain `relu`, or a faster one."""

    def __init__(self) -> None:
        plain = {name: value for name, value in vars(functional).items() if isfunction(value)}
        self.choices: dict[str, Any] = {"plain": SimpleNamespace(**plain, SGD=SGD, Adam=Adam)}
        self.name = "plain"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.choices[self.name], name)

    def __repr__(self) -> str:
        return f"<operations: {self.name}>"


operations = Operations()


def use_operations(name: str) -> str:
    """Choose the operations for the whole process: ``"fast"`` or ``"plain"``; returns the name.

    Raises
    ------
    UserError
        If there are none of this name.
    """
    if name not in operations.choices:
        known = ", ".join(sorted(operations.choices))
        raise UserError(f"unknown operations {name!r}: choose one of {known}")
    operations.name = name
    return name
