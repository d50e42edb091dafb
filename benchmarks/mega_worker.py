"""One side of benchmarks/mega.py: a process that does what it is told, one line at a time, and answers with CPU seconds.

It runs under either interpreter: ``python mega_worker.py mmkit`` or ``python mega_worker.py port``. A line of input is JSON:
a case to prepare (see ``CASES``), or ``{"go": true}`` to do its work once. Every line is answered by one line of JSON.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import profile


Work = Callable[[], Any]
TOKENS = 8  # of one turn of decoding


class Port:
    """Mega as transformers 4.44 had it: time-major averages, tuples as cache."""

    def __init__(self) -> None:
        package = "transformers.models.deprecated.mega"  # not in the transformers that mmkit uses
        modeling: Any = import_module(f"{package}.modeling_mega")
        self.config = import_module(f"{package}.configuration_mega").MegaConfig
        self.model, self.average = modeling.MegaModel, modeling.MegaMultiDimensionDampedEma

    def averaged(self, ema: nn.Module, x_BLD: Tensor) -> Tensor:
        return ema(x_BLD.transpose(0, 1))[0]

    def kernel(self, ema: Any, length: int) -> Tensor:
        return ema._compute_efficient_ema_kernel(length)

    def forget_kernels(self, model: nn.Module) -> None:
        averages: list[Any] = [module for module in model.modules() if isinstance(module, self.average)]
        for average in averages:
            average._kernel = average._coeffs = None


class Ours:
    """mmkit's."""

    def __init__(self) -> None:
        from mmkit.models.mega import MegaConfig, MegaModel
        from mmkit.models.mega.ema import MultiHeadEMA

        self.config, self.model, self.average = MegaConfig, MegaModel, MultiHeadEMA

    def averaged(self, ema: nn.Module, x_BLD: Tensor) -> Tensor:
        return ema(x_BLD)[0]

    def kernel(self, ema: Any, length: int) -> Tensor:
        return ema.kernel(length)

    def forget_kernels(self, model: nn.Module) -> None:
        """None is kept."""


def ema(side: Any, config: dict[str, Any], length: int, batch: int) -> Work:
    """Forward and backward of one average."""
    module, x_BLD = _ema(side, config), torch.randn(batch, length, 128, requires_grad=True)

    def work() -> None:
        module.zero_grad()
        x_BLD.grad = None
        y_BLD = side.averaged(module, x_BLD)
        y_BLD.backward(torch.ones_like(y_BLD))

    return work


def kernel(side: Any, config: dict[str, Any], length: int, batch: int) -> Work:
    """Forward and backward of the convolution kernel alone."""
    module = _ema(side, config)

    def work() -> None:
        module.zero_grad()
        kernel_KL = side.kernel(module, length)
        kernel_KL.backward(torch.ones_like(kernel_KL))

    return work


def train(side: Any, config: dict[str, Any], length: int, batch: int) -> Work:
    """Forward and backward of the model, with its dropout; without a head, whose matrix product is the same on both sides."""
    model, tokens_BL = _model(side, config).train(), _tokens(batch, length)

    def work() -> None:
        model.zero_grad()
        model(tokens_BL).last_hidden_state.square().mean().backward()

    return work


def infer(side: Any, config: dict[str, Any], length: int, batch: int) -> Work:
    """Forward of the model in evaluation, no kernel kept from before."""
    model, tokens_BL = _model(side, config).eval(), _tokens(batch, length)

    def work() -> None:
        side.forget_kernels(model)
        with torch.no_grad():
            model(tokens_BL)

    return work


def decode(side: Any, config: dict[str, Any], length: int, batch: int) -> Work:
    """``TOKENS`` tokens, one at a time, after a context of ``length``."""
    model, tokens_BL = _model(side, config).eval(), _tokens(batch, length)
    with torch.no_grad():
        cache = model(tokens_BL, use_cache=True).past_key_values

    def work() -> None:
        nonlocal cache
        with torch.no_grad():
            for _ in range(TOKENS):
                cache = model(tokens_BL[:, :1], past_key_values=cache, use_cache=True).past_key_values

    return work


CASES = {work.__name__: work for work in (ema, kernel, train, infer, decode)}


def _ema(side: Any, config: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    module = side.average(side.config(**config))
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module


def _model(side: Any, config: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return side.model(side.config(**config))


def _tokens(batch: int, length: int) -> Tensor:
    return torch.randint(3, 30000, (batch, length), generator=torch.Generator().manual_seed(1))


def seconds(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_bytes(work: Work) -> int:
    """The most that tensors took at once beyond what they took before, as torch's allocator reports it to the profiler."""
    with _silent(), profile(profile_memory=True) as profiled:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    taken = peak = 0
    for event in events:
        taken += event["args"]["Bytes"]
        peak = max(peak, taken)
    return peak


@contextmanager
def _silent() -> Iterator[None]:
    """The profiler's remarks come from C++."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main() -> None:
    torch.set_num_threads(1)
    side = {"port": Port, "mmkit": Ours}[sys.argv[1]]()
    work: Work = lambda: None  # noqa: E731  (replaced by the first case)
    measure: Callable[[Work], float] = seconds
    for line in sys.stdin:
        told = json.loads(line)
        if "go" in told:
            answer = measure(work)
        else:
            measure = peak_bytes if told.pop("memory") else seconds
            work = CASES[told.pop("case")](side, **told)
            work()  # what is made once is not counted
            answer = 0
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
