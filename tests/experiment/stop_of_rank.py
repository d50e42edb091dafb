"""One of two ranks that stop together; started by test_stops.py."""

import json
import os
import signal
import sys
import time
from functools import partial

import torch.distributed as dist

from mmkit.errors import MMKitError, NonFiniteError
from mmkit.experiment.stops import StopReason, Stops


def steps_until_stop(stops, act):
    """Call ``agreed`` at every step; ``act`` on rank 1 at step 5."""
    for step in range(1000):
        if step == 5 and dist.get_rank() == 1:
            act()
        reason = stops.agreed()
        if reason:
            return [step, reason.name, type(stops.error()).__name__, str(stops.error())]
        time.sleep(0.001)
    return None


def main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    facts = {}
    for number in (signal.SIGUSR1, signal.SIGTERM):
        stops = Stops()
        stops.install()
        facts[number.name] = steps_until_stop(stops, partial(os.kill, os.getpid(), number))
        stops.restore()
    facts["max_time"] = steps_until_stop(Stops(max_time="1s" if rank == 0 else "1h"), lambda: None)
    stops = Stops()
    facts["fault"] = steps_until_stop(stops, lambda: stops.request(StopReason.NON_FINITE, NonFiniteError("mine")))
    stops = Stops()
    facts["common_count"] = stops.common_count(3 + rank)
    started = time.perf_counter()
    for _ in range(200):
        stops.agreed()
    facts["microseconds"] = (time.perf_counter() - started) / 200 * 1e6
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(facts, file)
    if rank == 1:
        os._exit(0)
    try:
        while True:
            stops.agreed()
    except MMKitError as error:
        with open(f"{folder}/lost.json", "w") as file:
            json.dump(str(error), file)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
