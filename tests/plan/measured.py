"""What a real run allocates: the profiler's record of the allocator, which knows nothing of plans."""

import json
import tempfile
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch.profiler import ProfilerActivity, profile

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.experiment.run import build_task


def measured_peak(cfg: Any) -> int:
    """Bytes that building the task and three steps of training, or of testing, have allocated at most."""
    data = ConfiguredData(cfg.datasets, cfg.dataloader, 0)
    trains = cfg.job_type == "train"
    loader = data.train_dataloader() if trains else data.test_dataloader()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        task = build_task(cfg)
        limits: dict[str, Any] = {"max_steps": 3, "limit_test_batches": 3, "barebones": True}
        trainer = Trainer(accelerator="cpu", precision=cfg.trainer.precision, callbacks=_ema(cfg), **limits)
        trainer.fit(task, loader) if trains else trainer.test(task, loader)
    return _peak_of(record)


def _ema(cfg: Any) -> list[Any]:
    from mmkit.trainer.ema import ExponentialMovingAverage

    return [ExponentialMovingAverage()] if cfg.exp_manager.ema.enable else []


def _peak_of(record: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    allocations = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]")
    live = peak = 0
    for _, size in allocations:
        live += size
        peak = max(peak, live)
    return peak
