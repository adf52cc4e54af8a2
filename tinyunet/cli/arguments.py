"""From a function to what can be typed: its parameters become arguments and options.

What a signature and its docstring say of a parameter, its type, range, usual value and meaning, is
all that the command line needs to know, so it is said once::

    def run_tile(scene: str, mask: str, *, out: str, size: Annotated[int, Range(1, 10**6)] = 256):

becomes ``SCENE MASK --out OUT [--size N]``. The settings of a training, a dataclass, are read
likewise.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable
from typing import get_args, get_type_hints

from tinyunet.errors import UserError
from tinyunet.hints import Range, unfold

# The first option of each group in --help.
GROUPS = {
    **{"val_images": "data", "alpha": "data", "base_channels": "network", "steps": "training"},
    **{"resume": "output", "tile": "computation"},
}


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line, as all of tinyunet does."""

    def __init__(self, **settings):
        super().__init__(**settings, add_help=False)
        self.groups: dict = {None: self}
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def error(self, message: str):
        """Raise instead of printing a page and leaving."""
        raise UserError(f"{message} (see {self.prog} --help)")

    def add(self, source, names: Iterable[str] | None = None, **more) -> None:
        """Add an argument for each parameter of a function or dataclass that its docstring tells.

        Those before the ``*`` become arguments, but for `out`; the others are options.

        Parameters
        ----------
        source : function or class
        names : iterable of str, optional
            Only these parameters.
        **more
            For each: ``default=argparse.SUPPRESS`` leaves out what was not typed.
        """
        hints, title = get_type_hints(source, include_extras=True), None
        told = re.findall(r"^(\w+) : .*\n((?: {4}.+\n)+)", f"{inspect.getdoc(source)}\n", re.M)
        texts = {name: " ".join(text.split()) for name, text in told}
        for name, parameter in inspect.signature(source).parameters.items():
            title = GROUPS.get(name, title)
            if name not in (texts if names is None else names):
                continue
            if title not in self.groups:
                self.groups[title] = self.add_argument_group(title)
            is_option = name == "out" or parameter.kind is parameter.KEYWORD_ONLY
            form = form_of(name, hints[name], parameter.default, texts[name], is_option)
            flag = "--" + name.rstrip("_").replace("_", "-") if is_option else name
            self.groups[title].add_argument(flag, **form | more)


def form_of(name: str, hint, default, help: str, is_option: bool) -> dict:
    """Tell argparse what a parameter may be, and how the help calls it."""
    (kind, *_), choices, notes = unfold(hint)
    form = {"help": help} | ({"dest": name} if is_option else {})
    if default is False:
        return form | {"action": "store_true"}
    if default is inspect.Parameter.empty:
        form |= {"required": True} if is_option else {}
    else:
        form |= {"default": default} if is_option else {"default": default, "nargs": "?"}
    if type(default) in (int, float, str) and "(default: " not in help:
        form["help"] = f"{help[:-1]} (default: {default})."
    if choices:
        return form | {"choices": choices, "type": type(choices[0])}
    if get_args(kind) and not is_option:
        kind, form["nargs"] = get_args(kind)[0], "+"
    names = [note for note in notes if isinstance(note, str)]
    form["metavar"] = names[0] if names else {int: "N", float: "F"}.get(kind, name.upper())
    return form | {"type": reader(kind, notes)}


def reader(kind, notes) -> Callable:
    """Give the function that reads a value: of this type, and within its range."""

    def read(text: str):
        if get_args(kind):
            return [get_args(kind)[0](word) for word in text.split(",")]
        value = kind(text)
        for note in notes:
            if isinstance(note, Range) and value not in note:
                raise argparse.ArgumentTypeError(f"{text[:20]} is not {note}")
        return value

    read.__name__ = kind.__name__  # for argparse: invalid int value
    return read
