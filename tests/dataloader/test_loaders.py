import gc
import logging
import random

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mmkit import rng
from mmkit.dataloader.watched import WatchedLoader
from mmkit.datasets.core import CombinedDataset
from mmkit.errors import UsageError


OURS = "mmkit.dataloader.sampler"
NOISY = "tests.dataloader.noisy"
PROCESSED = {
    "_target_": "mmkit.datasets.core.data_collator.DefaultDataCollator",
    "batch_processors": {"noise": {"_target_": f"{NOISY}.add_noise", "_partial_": True}},
}
PARTS = {"a": {"size": 13}, "b": {"size": 6, "offset": 100}}
ORDERS = {
    "shuffle": {"batch_size": 4, "shuffle": True},
    "shuffle, drop last": {"batch_size": 4, "shuffle": True, "drop_last": True},
    "in order": {"batch_size": 4, "shuffle": False},
    "ratio": {
        "batch_size": 4,
        "sampler": {"_target_": f"{OURS}.CombinedDatasetRatioSampler", "dataset": "???", "ratios": [1, 2]},
    },
    "buckets": {
        "batch_sampler": {"_target_": f"{OURS}.BucketBatchSampler", "dataset": "???", "batch_size": 4, "pool_batches": 2}
    },
    "weighted": {
        "batch_size": 4,
        "sampler": {"_target_": "torch.utils.data.WeightedRandomSampler", "weights": [1.0] * 19, "num_samples": 19},
    },
    "random": {"batch_size": 4, "sampler": {"_target_": "torch.utils.data.RandomSampler", "data_source": "???"}},
    "torch's batches": {
        "batch_sampler": {
            "_target_": "torch.utils.data.BatchSampler",
            "sampler": {"_target_": "torch.utils.data.SubsetRandomSampler", "indices": [*range(19)]},
            "batch_size": 4,
            "drop_last": False,
        }
    },
    "no batches": {"batch_size": None, "shuffle": True, "collate_fn": None},
}
STREAMS = {
    "stream": {"s": {"_target_": f"{NOISY}.NoisyStream", "size": 19}},
    "streams and another": {
        "s": {"_target_": f"{NOISY}.NoisyStream", "size": 9},
        "t": {"_target_": f"{NOISY}.NoisyStream", "size": 8},
        "m": {"size": 5},
    },
}
WORKERS = {
    "main process": {},
    "2 workers": {"num_workers": 2},
    "2 persistent workers": {"num_workers": 2, "persistent_workers": True},
}


def frozen(batch) -> tuple:
    values = [batch["rgb"].flatten().tolist(), batch["noise"].flatten().tolist()]
    return repr(values), repr(batch["example_ids"])


def disturb(seed: int) -> None:
    """What goes on between batches must not matter."""
    rng.seed_all(seed)
    random.random(), np.random.normal(), torch.rand(seed % 3)


def epochs(loader, first: int, last: int) -> list[list[tuple]]:
    """Read epochs as Lightning does: the first iterator is made before the epoch is set."""
    if loader.num_workers:
        gc.collect()  # OmegaConf's caught errors keep frames, and with them loaders, which take seconds to collect later
    result = []
    for epoch in range(first, last):
        iterator = iter(loader) if epoch == first else None
        set_epoch(loader, epoch)
        batches = []
        for batch in iterator or iter(loader):
            batches.append(frozen(batch))
            disturb(len(batches))
        result.append(batches)
    return result


def set_epoch(loader, epoch: int) -> None:
    """Like ``lightning.fabric.utilities.data._set_sampler_epoch``."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        if callable(method := getattr(sampler, "set_epoch", None)):
            method(epoch)


def resumed(data, epoch: int, batch: int):
    state = data.state_dict() | {"epoch": epoch, "batch": batch}
    data.load_state_dict(state)
    return data.train_dataloader()


@pytest.mark.parametrize("settings", ORDERS.values(), ids=ORDERS)
def test_from_every_batch_of_three_epochs_the_rest_is_the_same_to_the_last_bit(make, settings):
    settings = {"collate_fn": PROCESSED} | settings
    straight = epochs(make(PARTS, **settings).train_dataloader(), 0, 3)
    assert len({batch for epoch in straight for batch in epoch}) == sum(map(len, straight))
    for epoch in range(3):
        for batch in range(0, len(straight[epoch]), 1 if len(straight[epoch]) < 19 else 5):
            disturb(batch)
            loader = resumed(make(PARTS, **settings), epoch, batch)
            rest = epochs(loader, epoch, min(epoch + 2, 3))
            assert rest == [straight[epoch][batch:], *straight[epoch + 1 : epoch + 2]]
            assert len(loader) == len(straight[epoch])


@pytest.mark.parametrize("workers", [*WORKERS][1:])
@pytest.mark.parametrize(
    "settings", [ORDERS["shuffle"], ORDERS["buckets"], ORDERS["weighted"]], ids=["shuffle", "buckets", "weighted"]
)
def test_workers_read_what_the_main_process_reads(make, settings, workers):
    settings = {"collate_fn": PROCESSED} | settings
    straight = epochs(make(PARTS, **settings).train_dataloader(), 0, 3)
    with_workers = settings | WORKERS[workers]
    assert epochs(make(PARTS, **with_workers).train_dataloader(), 0, 3) == straight
    for batch in (1, 3):
        loader = resumed(make(PARTS, **with_workers), 1, batch)
        assert epochs(loader, 1, 3) == [straight[1][batch:], straight[2]]


def test_spawned_workers_read_the_same(make):
    settings = {"collate_fn": PROCESSED, "batch_size": 4, "shuffle": True}
    straight = epochs(make(PARTS, **settings).train_dataloader(), 0, 3)
    spawned = make(PARTS, **settings, num_workers=1, multiprocessing_context="spawn", persistent_workers=True)
    assert epochs(resumed(spawned, 1, 2), 1, 3) == [straight[1][2:], straight[2]]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("parts", STREAMS.values(), ids=STREAMS)
@pytest.mark.filterwarnings("ignore:Length of IterableDataset")  # each worker makes its own last batch
def test_streams_go_on_where_they_were(make, parts, workers, caplog):
    settings = {"batch_size": 4, "collate_fn": PROCESSED} | WORKERS[workers]
    straight = epochs(make(parts, **settings).train_dataloader(), 0, 3)
    assert straight[0] != straight[1] != straight[2]
    caplog.set_level(logging.INFO)
    for batch in (0, 1, 4) if workers == "main process" else (3,):
        caplog.clear()
        rest = epochs(resumed(make(parts, **settings), 1, batch), 1, 3)
        assert rest == [straight[1][batch:], straight[2]]
        told = [record.message for record in caplog.records]
        assert told == [f"Reading {batch} batches of a stream again to continue after them."] * (batch > 0)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_a_stream_that_shuffles_itself_is_shared_out_over_workers_and_its_examples_do_not_depend_on_them(make, num_workers):
    def examples(**settings) -> dict[int, list[float]]:
        loader = make(STREAMS["stream"], batch_size=4, **settings).train_dataloader()
        batches = list(loader)
        return dict(
            zip(torch.cat([b["rgb"] for b in batches]).tolist(), torch.cat([b["noise"] for b in batches]).tolist(), strict=True)
        )

    found = examples(num_workers=num_workers)
    assert sorted(found) == list(range(19))
    assert found == examples()


def test_a_resumed_epoch_sees_each_remaining_example_once(make):
    loader = make(PARTS, batch_size=4, shuffle=True).train_dataloader()
    seen = [torch.cat([batch["rgb"] for batch in loader])[: 2 * 4].tolist()]
    rest = resumed(make(PARTS, batch_size=4, shuffle=True), 0, 2)
    seen.append(torch.cat([batch["rgb"] for batch in rest]).tolist())
    assert sorted(seen[0] + seen[1]) == [*range(13), *range(100, 106)]


def test_the_next_batch_is_as_marked_and_survives_a_save(make):
    data = make(PARTS, batch_size=4, ranks=(2, 0))
    data.mark(1, 2)
    state = data.state_dict()
    assert state == {"epoch": 1, "batch": 2, "global_batch_size": 8}
    other = make(PARTS, batch_size=4, ranks=(2, 0))
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert len(epochs(other.train_dataloader(), 1, 2)[0]) == 1  # of three


def test_another_global_batch_size_goes_on_at_the_same_example(make, caplog):
    data = make({"a": {"size": 40}}, batch_size=2, shuffle=True)
    whole = torch.cat([batch["rgb"] for batch in data.train_dataloader()]).tolist()
    data.mark(0, 7)
    larger = make({"a": {"size": 40}}, batch_size=4, shuffle=True)
    larger.load_state_dict(data.state_dict())
    assert torch.cat([batch["rgb"] for batch in larger.train_dataloader()]).tolist() == whole[12:]
    assert [record.message for record in caplog.records] == [
        "The global batch size was 2 and is now 4. Epoch 0 goes on at batch 3, at about the same example."
    ]
    assert larger.state_dict() == {"epoch": 0, "batch": 3, "global_batch_size": 4}


def test_ranks_change_with_the_same_global_batch_size(make, caplog):
    one = make({"a": {"size": 40}}, batch_size=8, shuffle=True)
    batches = [frozen_rows(batch) for batch in one.train_dataloader()]
    one.mark(0, 2)
    shares = []
    for rank in range(4):
        data = make({"a": {"size": 40}}, ranks=(4, rank), batch_size=2, shuffle=True)
        data.load_state_dict(one.state_dict())
        shares.append([frozen_rows(batch) for batch in data.train_dataloader()])
    assert [set.union(*step) for step in zip(*shares, strict=True)] == batches[2:]
    assert not caplog.records


def frozen_rows(batch) -> set:
    return {(int(index), *noise) for index, noise in zip(batch["rgb"], batch["noise"].tolist(), strict=True)}


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("parts", [{"a": {}}, STREAMS["stream"]], ids=["map", "stream"])
def test_loading_leaves_the_random_numbers_of_training_alone(make, num_workers, parts):
    rng.seed_all(5)
    np.random.normal()
    states = rng.captured()
    expected = random.random(), np.random.normal(), torch.rand(()).item(), rng.generator("x").initial_seed()
    data = make(parts, batch_size=3, num_workers=num_workers)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        rng.restore(states)
        iterator = iter(loader)
        next(iterator), next(iterator)
        assert (random.random(), np.random.normal(), torch.rand(()).item(), rng.generator("x").initial_seed()) == expected


def test_an_error_of_a_data_set_leaves_the_random_numbers_alone_and_names_the_example(make):
    data = make({"a": {}, "photos": {"_target_": f"{NOISY}.Broken"}}, batch_size=4)
    rng.seed_all(5)
    with pytest.raises(OSError, match="no such picture") as error:
        list(data.train_dataloader())
    assert error.value.__notes__ == ["Raised while reading data set 1 'photos' (Broken), position 5."]
    after = torch.rand(1)
    rng.seed_all(5)
    assert torch.equal(after, torch.rand(1))


def test_an_error_in_a_worker_names_the_example_too(make):
    loader = make({"": {"_target_": f"{NOISY}.Broken"}}, batch_size=4, num_workers=1).train_dataloader()
    with pytest.raises(OSError, match=r"(?s)no such picture.*Raised while reading data set 0 \(Broken\), position 5\."):
        list(loader)


def test_evaluation_is_the_same_every_time(make):
    data = make(PARTS, batch_size=4, shuffle=True)
    loader = data.val_dataloader()
    assert epochs(loader, 0, 2) == [[frozen(batch) for batch in loader]] * 2
    assert epochs(data.test_dataloader(), 0, 1) != epochs(loader, 0, 1)


def test_the_seed_of_the_run_decides(make):
    def first(seed: int) -> tuple:
        return frozen(next(iter(make(PARTS, seed=seed, batch_size=4, shuffle=True).train_dataloader())))

    assert first(1) == first(1) != first(2)


def values(loader) -> list[int]:
    return torch.cat([batch["rgb"] for batch in loader]).tolist()


def test_data_sets_of_a_split_are_combined_and_null_ones_left_out(make):
    batches = list(make({"a": {"size": 3}, "b": {"size": 2, "offset": 100}}, batch_size=2).train_dataloader())
    assert torch.cat([batch["rgb"] for batch in batches]).tolist() == [0, 1, 2, 100, 101]
    assert torch.cat([batch["example_ids"]["rgb"] for batch in batches]).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]


def test_a_loaders_data_set_is_the_combined_one(make):
    dataset = make(PARTS).val_dataloader().dataset
    assert isinstance(dataset, CombinedDataset)
    assert dataset.names == ["a", "b"]
    assert dataset[14]["example_ids"] == (1, 1)


def test_a_sampler_whose_data_set_is_missing_gets_it(make):
    sampler = {"_target_": f"{OURS}.CombinedDatasetRatioSampler", "dataset": "???", "ratios": [1.0, 0.0]}
    assert max(values(make(PARTS, sampler=sampler).train_dataloader())) < 100


def test_a_sampler_that_takes_no_data_set_is_built_as_it_is(make):
    sampler = {"_target_": "torch.utils.data.WeightedRandomSampler", "weights": [0.0, 1.0], "num_samples": 4}
    assert values(make(sampler=sampler).train_dataloader()) == [1, 1, 1, 1]


@pytest.mark.parametrize("shuffle", [True, False, None])
def test_several_ranks_divide_training_data_and_honour_shuffle(make, shuffle):
    shares = [values(make(ranks=(2, rank), shuffle=shuffle).train_dataloader()) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == list(range(10))
    assert (shares == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]) == (not shuffle)


def test_several_ranks_see_each_evaluation_example_once_without_padding(make):
    loaders = [make({"a": {"size": 7}}, ranks=(2, rank)).val_dataloader() for rank in (0, 1)]
    assert [values(loader) for loader in loaders] == [[0, 2, 4, 6], [1, 3, 5]]
    assert [len(loader) for loader in loaders] == [4, 3]


def test_data_is_not_divided_if_that_is_not_wanted(make):
    assert values(make(ranks=(2, 1), divide=False).train_dataloader()) == list(range(10))


def test_overfitting_repeats_the_same_batches_in_order(make):
    data = make(shuffle=True, batch_size=2)
    data.trainer.overfit_batches = 2
    loader = data.train_dataloader()
    set_epoch(loader, 3)
    assert values(loader) == list(range(10))


def test_another_class_of_loader_is_respected(make):
    class Own(torch.utils.data.DataLoader):
        pass

    torch.utils.data.Own = Own  # pyright: ignore[reportAttributeAccessIssue]
    try:
        loader = make(PARTS, _target_="torch.utils.data.Own", batch_size=4, shuffle=True).train_dataloader()
    finally:
        del torch.utils.data.Own  # pyright: ignore[reportAttributeAccessIssue]
    assert type(loader) is Own
    ours = make(PARTS, batch_size=4, shuffle=True).train_dataloader()
    assert type(ours) is WatchedLoader
    assert epochs(loader, 0, 2) == epochs(ours, 0, 2)


def test_a_split_without_data_is_named(make):
    data = make()
    data._datasets = OmegaConf.create(dict.fromkeys(("train", "val", "test")))
    with pytest.raises(UsageError, match=r"datasets.train is empty. Name a data set: /datasets@datasets.train.NAME: CLASS"):
        data.train_dataloader()
    assert data.val_dataloader() == []


def test_a_batch_sampler_excludes_other_orders(make):
    with pytest.raises(UsageError, match="takes no `batch_size`, `shuffle`, `sampler` or `drop_last`"):
        make(PARTS, **ORDERS["buckets"], shuffle=True).train_dataloader()


def test_digests_tell_what_is_known_of_each_data_set(make):
    data = make(PARTS)
    before = data.digests()
    assert before.keys() == {"train", "val", "test"}
    assert before["train"]["a"]["class"] == f"{NOISY}.Noisy"
    assert before["train"]["a"]["config"] == before["val"]["a"]["config"] != before["train"]["b"]["config"]
    data.train_dataloader()
    data._built["train"]["b"].fingerprint = "f00"
    after = data.digests()
    assert after["train"]["a"] == before["train"]["a"] | {"length": 13}
    assert after["train"]["b"] == before["train"]["b"] | {"length": 6, "digest": "f00"}
    assert after["val"] == before["val"]
