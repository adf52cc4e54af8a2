"""Where a training step's time goes: by layer, by kind of layer, and by function.

Every layer's forward and backward and every function of `tinyunet.nn.functional` is wrapped in a
clock. A function's *own* time is what is left when the wrapped functions that it calls are taken
off, so own times add up to the whole step. (A clock costs about a microsecond a call.)
"""

import functools
import inspect
import sys
import threading
import time
from collections import defaultdict

from parts.benchmark_networks import Work
from tinyunet.backend import xp
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.summary import named_layers, summarize


class Clocks:
    """Collects the seconds of wrapped functions: `whole` with all that they call, and their `own`.

    Each thread has its own stack of the functions it is in.
    """

    def __init__(self):
        self.whole = defaultdict(float)
        self.own = defaultdict(float)
        self.calls = defaultdict(int)
        self.thread = threading.local()
        self.lock = threading.Lock()

    def wrap(self, function, name):
        """Give a function that does the same and is timed."""

        @functools.wraps(function)
        def timed(*arguments, **keywords):
            stack = self.thread.__dict__.setdefault("stack", [])
            stack.append(0.0)  # seconds spent in wrapped functions that this one calls
            start = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                seconds = time.perf_counter() - start
                inner = stack.pop()
                if stack:
                    stack[-1] += seconds
                with self.lock:
                    self.whole[name] += seconds
                    self.own[name] += seconds - inner
                    self.calls[name] += 1

        return timed

    def clear(self):
        """Forget what was measured: after the warm-up."""
        for measured in (self.whole, self.own, self.calls):
            measured.clear()

    def wrap_functions(self):
        """Wrap every function of the operations wherever it is used, and the product."""
        modules = [module for name, module in sys.modules.items() if name.startswith("tinyunet.")]
        wrapped = {}
        for module in modules:
            for name, function in list(vars(module).items()):
                if not inspect.isfunction(function) or inspect.isgeneratorfunction(function):
                    continue
                if not function.__module__.startswith(("tinyunet.nn.functional", "tinyunet.fast")):
                    continue
                place = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
                wrapped.setdefault(function, self.wrap(function, place))
                setattr(module, name, wrapped[function])
        xp.matmul = self.wrap(xp.matmul, "matmul")

    def wrap_layers(self, network):
        """Wrap forward and backward of every layer that has no layers inside."""
        for layer, name in named_layers(network):
            if not layer.children():
                for way in ("forward", "backward"):
                    key = (name, type(layer).__name__, way)
                    setattr(layer, way, self.wrap(getattr(layer, way), key))


def profile(work: Work, threads: int, steps: int) -> str:
    """Time `steps` training steps, each part of them, and give the tables as text."""
    clocks = Clocks()
    network = work.network()
    images, labels = work.images_and_labels(network)
    replicas = Replicas(network, threads)
    optimizer = operations.Adam(network.parameters())
    clocks.wrap_functions()
    for replica in replicas.replicas:
        clocks.wrap_layers(replica)

    def step():
        optimizer.zero_grad()
        replicas.loss_and_gradients(images, labels, CrossEntropy())
        replicas.step(optimizer)

    optimizer.step = clocks.wrap(optimizer.step, "optimizer.step")
    replicas.sum_gradients = clocks.wrap(replicas.sum_gradients, "replicas.sum_gradients")
    replicas.run = clocks.wrap(replicas.run, "replicas.run (the threads' work)")
    step = clocks.wrap(step, "step")
    step()
    clocks.clear()
    for _ in range(steps):
        step()
    used = min(threads, work.batch)
    return "\n\n".join(
        [
            f"{work.title}: {1e3 * clocks.whole['step'] / steps:.1f} ms a step on {used} "
            f"thread{'s' * (used > 1)}. Milliseconds a step, added up over the threads:",
            layer_table(clocks, work, steps),
            kind_table(clocks, steps, used),
            function_table(clocks, steps, used),
        ]
    )


def layer_table(clocks, work, steps):
    """List each layer, with the speed of its products."""
    lines = ["| layer | kind | output | forward ms | backward ms | forward GFLOP/s | backward |"]
    lines.append("|:--|:--|:--|--:|--:|--:|--:|")
    for number, row in enumerate(summarize(work.network(), work.size).rows):
        forward, backward = (
            clocks.whole[row.name, row.kind, way] / steps for way in ("forward", "backward")
        )
        shape = " x ".join(str(length) for length in row.output_shape[1:])
        line = f"| {row.name} | {row.kind} | {shape} | {1e3 * forward:.2f} | {1e3 * backward:.2f} |"
        if row.multiply_adds and forward and backward:
            giga = 2e-9 * work.batch * row.multiply_adds
            products = 1 if number == 0 else 2  # the image's own gradient is left out
            line += f" {giga / forward:.0f} | {products * giga / backward:.0f} |"
        else:
            line += " | |"
        lines.append(line)
    return "\n".join(lines)


def kind_table(clocks, steps, threads):
    """List each kind of layer and whatever else a step does."""
    whole = clocks.whole["step"] * threads
    seconds = defaultdict(float)
    for key, value in clocks.whole.items():
        if isinstance(key, tuple):
            seconds[key[1:]] += value
    for name in ("cross_entropy.softmax_cross_entropy", "optimizer.step", "replicas.sum_gradients"):
        seconds[name, ""] = clocks.whole[name]
    lines = ["| kind | way | ms | of the threads' time |", "|:--|:--|--:|--:|"]
    for (kind, way), value in sorted(seconds.items(), key=lambda item: -item[1]):
        lines.append(
            f"| {kind} | {way} | {1e3 * value / steps:.2f} | {100 * value / whole:.1f} % |"
        )
    return "\n".join(lines)


def function_table(clocks, steps, threads):
    """List the functions by the time that they spend themselves."""
    whole = clocks.whole["step"] * threads
    own, calls = defaultdict(float), defaultdict(int)
    for key, value in clocks.own.items():
        name = key if isinstance(key, str) else f"{key[1]}.{key[2]} itself"
        own[name] += value
        calls[name] += clocks.calls[key]
    lines = ["| function | calls | own ms | of the threads' time |", "|:--|--:|--:|--:|"]
    for name, value in sorted(own.items(), key=lambda item: -item[1]):
        share = value / whole
        if share >= 0.001 and not name.startswith(("step", "replicas.run")):
            count = calls[name] // steps
            lines.append(f"| {name} | {count} | {1e3 * value / steps:.2f} | {100 * share:.1f} % |")
    return "\n".join(lines)
