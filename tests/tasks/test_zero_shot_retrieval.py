import numpy as np
import pytest
import torch
from hydra_zen import instantiate
from lightning.pytorch import LightningModule

from mmkit.conf import external_store
from mmkit.tasks.zero_shot_retrieval import RetrievalTaskSpec, ZeroShotCrossModalRetrieval


BOTH = [
    {"query_modality": "text", "target_modality": "rgb", "top_k": [1, 3]},
    {"query_modality": "rgb", "target_modality": "text", "top_k": [1, 3]},
]


def batch_of(**rows):
    """``rgb=(numbers, vectors)`` to a batch with ids and embeddings."""
    ids = {name: torch.tensor([[0, n] for n in numbers], dtype=torch.long).reshape(-1, 2) for name, (numbers, _) in rows.items()}
    embeddings = {f"{name}_embedding": torch.tensor(np.asarray(x), dtype=torch.float32) for name, (_, x) in rows.items()}
    return {"example_ids": ids, **embeddings}


def metrics_of(evaluation, batches):
    task = LightningModule()
    evaluation.on_evaluation_epoch_start(task)
    for index, batch in enumerate(batches):
        evaluation.evaluation_step(task, batch, index)
    return {name: float(value) for name, value in evaluation.on_evaluation_epoch_end(task).items()}


def naive_metrics(query_ids, query, target_ids, target, top_k):
    query, target = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, target))
    ranks = []
    for number, similarities in zip(query_ids, query @ target.T, strict=True):
        order = np.argsort(-similarities)
        found = [rank for rank, j in enumerate(order, start=1) if target_ids[j] == number]
        ranks += [found] if found else []
    return {
        **{f"R@{k}": np.mean([found[0] <= k for found in ranks]) for k in top_k},
        "median_rank": np.median([found[0] for found in ranks]),
        "mAP": np.mean([np.mean([(n + 1) / rank for n, rank in enumerate(found)]) for found in ranks]),
    }


@pytest.mark.parametrize("batch_size", [2, 5, 20])
def test_metrics_of_both_directions_are_those_of_a_naive_search(batch_size):
    rng = np.random.default_rng(0)
    rgb_ids, text_ids = rng.integers(0, 8, 12), rng.integers(0, 8, 20)  # several positives, and queries without any
    rgb, text = rng.normal(size=(12, 4)), rng.normal(size=(20, 4))
    batches = []
    for start in range(0, 20, batch_size):
        rows = slice(start, start + batch_size)
        sides = {"rgb": (rgb_ids[rows], rgb[rows]), "text": (text_ids[rows], text[rows])}
        batches.append(batch_of(**{name: side for name, side in sides.items() if len(side[0]) > 0}))
    forward, back = (naive_metrics(*sides, [1, 3]) for sides in ((text_ids, text, rgb_ids, rgb), (rgb_ids, rgb, text_ids, text)))
    expected = {f"text_to_rgb_{k}": v for k, v in forward.items()} | {f"rgb_to_text_{k}": v for k, v in back.items()}
    assert metrics_of(ZeroShotCrossModalRetrieval(BOTH), batches) == {k: pytest.approx(v) for k, v in expected.items()}


def test_epochs_do_not_mix():
    evaluation = ZeroShotCrossModalRetrieval([RetrievalTaskSpec("text", "rgb", [1])], log_chance=True)
    right = batch_of(text=([0, 1], np.eye(2)), rgb=([0, 1], np.eye(2)))
    wrong = batch_of(text=([0, 1], np.eye(2)), rgb=([1, 0], np.eye(2)))
    assert metrics_of(evaluation, [wrong])["text_to_rgb_R@1"] == 0
    second = metrics_of(evaluation, [right])
    assert second["text_to_rgb_R@1"] == 1
    assert second["text_to_rgb_gallery_size"] == 2


def test_chance_is_logged_on_request():
    evaluation = ZeroShotCrossModalRetrieval(
        [{"query_modality": "text", "target_modality": "rgb", "top_k": [1, 2]}], log_chance=True
    )
    metrics = metrics_of(evaluation, [batch_of(text=(range(4), np.eye(4)), rgb=(range(4), np.eye(4)))])
    assert metrics["text_to_rgb_R@1_chance"] == pytest.approx(0.25)
    assert metrics["text_to_rgb_R@2_chance"] == pytest.approx(0.5)
    assert metrics["text_to_rgb_gallery_size"] == 4


def test_k_above_the_gallery_is_left_out_with_a_warning():
    batch = batch_of(text=([0, 1], np.eye(2)), rgb=([0, 1], np.eye(2)))
    with pytest.warns(UserWarning, match="text_to_rgb_R@3 is not logged: the gallery has only 2 targets"):
        metrics = metrics_of(ZeroShotCrossModalRetrieval(BOTH[:1]), [batch])
    assert metrics == {"text_to_rgb_R@1": 1, "text_to_rgb_median_rank": 1, "text_to_rgb_mAP": 1}


@pytest.mark.parametrize(
    "batch", [batch_of(text=([0], [[1]])), batch_of(text=([0], [[1]]), rgb=([5], [[1]]))], ids=["absent", "unpaired"]
)
def test_direction_without_any_pair_is_left_out_with_a_warning(batch):
    with pytest.warns(UserWarning, match=r"both 'text' and 'rgb': text_to_rgb_\* is not logged"):
        assert metrics_of(ZeroShotCrossModalRetrieval(BOTH[:1]), [batch]) == {}


@pytest.mark.parametrize("specs", [[], [BOTH[0], BOTH[0]]], ids=["none", "twice"])
def test_directions_must_be_given_once(specs):
    with pytest.raises(ValueError, match="at least one direction of retrieval and none twice"):
        ZeroShotCrossModalRetrieval(specs)


def test_unknown_modality_is_an_error():
    with pytest.raises(ValueError, match="Unknown modality 'smell'"):
        ZeroShotCrossModalRetrieval([{"query_modality": "smell", "target_modality": "rgb", "top_k": [1]}])


def test_config_takes_plain_dictionaries():
    evaluation = instantiate(external_store["eval_task", "ZeroShotCrossModalRetrieval"], task_specs=BOTH)
    assert [spec.name for spec in evaluation.specs] == ["text_to_rgb", "rgb_to_text"]
