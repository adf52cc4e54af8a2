"""The sides of the benchmark, and the worker process in which each of them waits for its turn.

Every side does the same work: the same network from the same weights, on the same images. So the
loss of the first step must be the same for all, and the benchmark checks that it is.

=====================  ===========================================================================
side                   what it is
=====================  ===========================================================================
``tinyunet``           the library
``plain``              the library with its plain operations: the whole patch matrix at once, as
                       textbooks and DeZero have it
``torch``              PyTorch as it comes: channels first (NCHW), eager
``torch-channels-last``  the same in PyTorch's memory format for convolutions on CPUs
=====================  ===========================================================================

Started as ``python -m parts.benchmark_sides SIDE THREADS``, this file reads commands from its
standard input, a line of JSON each, and answers each with a line of JSON.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from parts.benchmark_networks import Work

SIDES = ("tinyunet", "plain", "torch", "torch-channels-last")


# -- tinyunet --------------------------------------------------------------------------------------


class TinyUNet:
    """The library, as `tinyunet train` uses it."""

    def __init__(self, threads: int):
        import numpy as np
        from threadpoolctl import threadpool_info

        import tinyunet

        self.threads = threads
        blas = [f"{pool['internal_api']} {pool['version']}" for pool in threadpool_info()]
        self.version = ", ".join(
            [f"tinyunet {tinyunet.__version__}", f"NumPy {np.__version__}", *blas]
        )

    def prepare(self, work: Work):
        """Make the network and its images."""
        from tinyunet.distributed import replicas as parallel
        from tinyunet.nn import losses
        from tinyunet.nn.operations import operations

        self.network = work.network()
        self.images, self.labels = work.images_and_labels(self.network)
        self.loss = losses.CrossEntropy()
        if work.training:
            self.optimizer = operations.Adam(self.network.parameters(), lr=1e-3)
        else:
            self.network = self.simplified(self.network.eval())
        self.replicas = parallel.Replicas(self.network, self.threads)

    def simplified(self, network):
        """Make the network with which `tinyunet predict` computes."""
        from tinyunet.fast.inference import for_inference

        return for_inference(network)

    def train(self) -> float:
        """Do one step of training; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.replicas.loss_and_gradients(self.images, self.labels, self.loss)
        self.replicas.step(self.optimizer)
        return float(loss)

    def infer(self) -> float:
        """Compute the logits; returns their mean square."""
        return float((self.replicas.logits(self.images) ** 2).mean())

    def product(self, size: int):
        """Multiply two square matrices; returns a function that does it."""
        import numpy as np

        a, b, result = (np.ones((size, size), dtype="float32") for _ in range(3))
        return lambda: np.matmul(a, b, out=result)


class Plain(TinyUNet):
    """The library with its plain operations, on BLAS's own threads."""

    def prepare(self, work: Work):
        """Choose the plain operations; then as the library, with the batch in one piece."""
        from threadpoolctl import threadpool_limits

        import tinyunet
        from tinyunet.distributed import replicas as parallel

        tinyunet.use_operations("plain")
        super().prepare(work)
        # One replica, and none of the library's care for threads: BLAS has them all.
        self.replicas = parallel.Replicas(self.network, 1)
        self.replicas.run = lambda work, count: [work(index) for index in range(count)]
        threadpool_limits(self.threads, user_api="blas")

    def simplified(self, network):
        """Return the network as it is."""
        return network


# -- PyTorch ---------------------------------------------------------------------------------------


class Torch:
    """The same network in PyTorch, from the same weights."""

    channels_last = False

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.version = f"PyTorch {torch.__version__}"

    def prepare(self, work: Work):
        """Make the network and its images."""
        import torch

        network = work.network()
        images, labels = work.images_and_labels(network)
        self.network = torch_unet(network)
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.from_numpy(labels)
        if self.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)
            self.images = self.images.to(memory_format=torch.channels_last)
        self.network.train(work.training)
        self.loss = torch.nn.CrossEntropyLoss()
        if work.training:
            self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, fused=True)

    def train(self) -> float:
        """Do one step of training; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.loss(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def infer(self) -> float:
        """Compute the logits; returns their mean square."""
        import torch

        with torch.no_grad():
            return (self.network(self.images) ** 2).mean().item()

    def product(self, size: int):
        """Multiply two square matrices; returns a function that does it."""
        import torch

        a, b, result = (torch.ones(size, size) for _ in range(3))
        return lambda: torch.matmul(a, b, out=result)


class TorchChannelsLast(Torch):
    """PyTorch in the memory format that it recommends for convolutions on CPUs."""

    channels_last = True


def torch_unet(network):
    """Make the network's twin in PyTorch, from the same weights; ReLU in place, as ours is."""
    from to_pytorch import nn, to_pytorch

    twin = to_pytorch(network)
    for layer in twin.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = True
    return twin


# -- The worker ------------------------------------------------------------------------------------

CLASSES = dict(zip(SIDES, (TinyUNet, Plain, Torch, TorchChannelsLast), strict=True))


def serve(side_name: str, threads: int) -> None:
    """Answer the commands on standard input until it ends."""
    side = CLASSES[side_name](threads)
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may get between the answers
    baseline = None
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        if name == "prepare":
            # A tiny step first: some of what a library needs it loads only when it is used.
            side.prepare(Work("tiny", "", batch=1, size=8, base=1, depth=1))
            side.train()
            baseline = resident_bytes()
            forget_peak_memory()
            work = Work(**command)
            side.prepare(work)
            answer = {"version": side.version}
        elif name == "step":
            step = side.train if work.training else side.infer
            start = time.perf_counter()
            value = step()
            answer = {"seconds": time.perf_counter() - start, "value": value}
        elif name == "memory":
            peak = peak_memory_bytes()
            answer = {"peak": peak, "added": peak - baseline}
        else:
            answer = limits(side, threads, command["quick"])
        print(json.dumps(answer), file=answers, flush=True)


def limits(side, threads: int, quick: bool) -> dict:
    """Measure how fast the machine multiplies matrices and copies memory, with these threads."""
    import numpy as np

    size = 256 if quick else 2048
    product = side.product(size)
    megabytes = 8 if quick else 256
    source = np.ones((threads, megabytes * 2**20 // threads), dtype=np.uint8)
    target = np.zeros_like(source)
    with ThreadPoolExecutor(threads) as pool:

        def copy():
            list(pool.map(np.copyto, target, source))

        best = {}
        for name, function in (("product", product), ("copy", copy)):
            seconds = []
            for _ in range(8):
                start = time.perf_counter()
                function()
                seconds.append(time.perf_counter() - start)
            best[name] = min(seconds[1:])
    # A copy reads every byte and writes it.
    return {"flops": 2.0 * size**3 / best["product"], "bandwidth": 2 * source.nbytes / best["copy"]}


def memory_field(name: str) -> int | None:
    """Read a figure of this process's memory from Linux, in bytes; None on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)


def resident_bytes() -> int:
    """Tell how much memory this process occupies now."""
    return memory_field("VmRSS:") or peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Tell the most memory that this process has occupied (since `forget_peak_memory`)."""
    peak = memory_field("VmHWM:")
    if peak is None:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    return peak


def forget_peak_memory() -> None:
    """Let the peak start anew from what is occupied now, where the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
