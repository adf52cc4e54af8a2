"""Which operations the layers use: the plain ones of this lesson, or others of the same names.

A layer asks for its operation by name, ``operations.conv2d``, and does not know which one it gets.
Here are the plain ones to read. A package may offer its own, as `tinyunet.fast` does, which is
tested to give the same results::

    from tinyunet import use_operations

    use_operations("plain")   # or "fast", as at the start
"""

from importlib import import_module
from typing import Any

from tinyunet.errors import UserError


class Operations:
    """Stands for the operations in use: `operations.relu` is the plain `relu`, or a faster one."""

    def __init__(self) -> None:
        # The modules that have them; imported when an operation is first asked for.
        self.choices = {"plain": ["tinyunet.nn.functional", "tinyunet.nn.optimizers"]}
        self.name = "plain"

    def __getattr__(self, name: str) -> Any:
        for module in map(import_module, self.choices[self.name]):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"there is no operation {name!r}")

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
