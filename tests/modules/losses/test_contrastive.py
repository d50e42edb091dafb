import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.modules.losses import ContrastiveLoss, tiles


MODALITIES = ("rgb", "text", "audio", "depth")
SCALE = 3.0


def pair(a, b, weight=1.0):
    return SimpleNamespace(modalities=(a, b), weight=weight)


def ids_of(numbers):
    return torch.tensor([[0, n] for n in numbers], dtype=torch.long).reshape(-1, 2)


def batch_of(rows, seed=0, size=3):
    """Random float64 embeddings and ids from ``{modality: numbers of its examples}``."""
    rng = np.random.default_rng(seed)
    embeddings = {f"{name}_embedding": torch.tensor(rng.normal(size=(len(numbers), size))) for name, numbers in rows.items()}
    return embeddings, {name: ids_of(numbers) for name, numbers in rows.items()}


def naive_direction(a, b, ids_a, ids_b, scale):
    terms = []
    for i, p in itertools.product(range(len(a)), range(len(b))):
        if ids_a[i] == ids_b[p]:
            negatives = [j for j in range(len(b)) if ids_b[j] != ids_a[i] and ids_b[j] in ids_a]
            positive = math.exp(scale * float(a[i] @ b[p]))
            terms.append(-math.log(positive / (positive + sum(math.exp(scale * float(a[i] @ b[j])) for j in negatives))))
    return sum(terms) / len(terms) if terms else 0.0


def naive_loss(embeddings, ids, pairs, scale=SCALE):
    total = 0.0
    for spec in pairs:
        (name_a, name_b), present = spec.modalities, {name: f"{name}_embedding" for name in ids}
        if name_a in present and name_b in present:
            a, b = (embeddings[present[name]].numpy() for name in spec.modalities)
            ids_a, ids_b = (ids[name][:, 1].tolist() for name in spec.modalities)
            both = naive_direction(a, b, ids_a, ids_b, scale), naive_direction(b, a, ids_b, ids_a, scale)
            total += spec.weight * sum(both) / 2
    return total


def naive_alignment(embeddings):
    rows = [(name, row) for name, x in embeddings.items() for row in x.numpy()]
    total = 0.0
    for name, row in rows:
        positive = [math.log1p(math.exp(-float(row @ other))) for other_name, other in rows if other_name == name]
        negative = [math.log1p(math.exp(float(row @ other))) for other_name, other in rows if other_name != name]
        total += np.mean(positive) + (np.mean(negative) if negative else 0.0)
    return total / len(rows) if rows else 0.0


@st.composite
def batches(draw):
    names = MODALITIES[: draw(st.integers(2, 4))]
    numbers = st.lists(st.integers(0, 5), max_size=6)  # too few numbers to be unique, and often none that match
    rows = {name: draw(numbers) for name in names if draw(st.booleans()) or name == names[0]}
    pairs = [pair(a, b, draw(st.sampled_from([0.5, 1.0, 2.0]))) for a, b in itertools.combinations(names, 2)]
    return *batch_of(rows, draw(st.integers(0, 100))), pairs


@pytest.fixture(params=[2**21, 2], ids=["dense", "tiled"])
def tile_logits(request, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_LOGITS", request.param)


@pytest.mark.filterwarnings("ignore:No example of a batch")
@pytest.mark.parametrize("modality_alignment", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("tile_size", [2**21, 2], ids=["dense", "tiled"])
def test_loss_is_that_of_a_naive_loop(tile_size, modality_alignment):
    @settings(max_examples=60)
    @given(batches())
    def check(batch):
        embeddings, ids, pairs = batch
        loss = ContrastiveLoss(modality_alignment=modality_alignment)
        value = loss(embeddings, ids, torch.tensor(SCALE, dtype=torch.float64), pairs)
        expected = naive_loss(embeddings, ids, pairs) + (naive_alignment(embeddings) if modality_alignment else 0.0)
        assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_LOGITS", tile_size)
        check()


def test_unique_ids_give_the_loss_of_clip(tile_logits):
    embeddings, ids = batch_of({"rgb": range(6), "text": range(6)}, size=8)
    scale = torch.tensor(10.0, dtype=torch.float64)
    logits, labels = scale * embeddings["rgb_embedding"] @ embeddings["text_embedding"].T, torch.arange(6)
    clip = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(ContrastiveLoss()(embeddings, ids, scale, [pair("rgb", "text")]), clip)


def test_order_of_rows_does_not_matter(tile_logits):
    embeddings, ids = batch_of({"rgb": [0, 1, 1, 2, 3], "text": [3, 1, 0, 2, 5]})
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = {**embeddings, "text_embedding": embeddings["text_embedding"][order]}
    scale, pairs = torch.tensor(2.0), [pair("rgb", "text")]
    expected = ContrastiveLoss()(embeddings, ids, scale, pairs)
    torch.testing.assert_close(ContrastiveLoss()(shuffled, {**ids, "text": ids["text"][order]}, scale, pairs), expected)


def test_equal_ids_are_never_negatives(tile_logits):
    embeddings, ids = batch_of({"rgb": [7, 7, 7], "text": [7, 7]})
    assert ContrastiveLoss()(embeddings, ids, torch.tensor(5.0), [pair("rgb", "text")]) == 0


@pytest.mark.parametrize("modality_alignment", [False, True], ids=["plain", "aligned"])
def test_gradients_are_exact(tile_logits, modality_alignment):
    embeddings, ids = batch_of({"rgb": [0, 1, 1, 2, 9], "text": [3, 1, 0, 2], "audio": [1, 1, 2, 0, 3]})
    pairs, loss = [pair("rgb", "text", 2.0), pair("text", "audio")], ContrastiveLoss(True, modality_alignment=modality_alignment)

    def value(scale, *tensors):
        return loss(dict(zip(embeddings, tensors, strict=True)), ids, scale, pairs)

    inputs = [torch.tensor(2.0, dtype=torch.float64), *embeddings.values()]
    assert torch.autograd.gradcheck(value, [x.requires_grad_() for x in inputs])


def test_shared_dot_products_give_exact_gradients(tile_logits):
    embeddings, ids = batch_of({"rgb": range(4), "text": [0, 1, 2, 2]})  # every row has a partner, so the two losses share them
    loss = ContrastiveLoss(modality_alignment=True)

    def value(scale, rgb, text):
        return loss({"rgb_embedding": rgb, "text_embedding": text}, ids, scale, [pair("rgb", "text")])

    inputs = [torch.tensor(2.0, dtype=torch.float64), *batch_of({"rgb": range(4), "text": range(4)})[0].values()]
    assert torch.autograd.gradcheck(value, [x.requires_grad_() for x in inputs])
    shifted = {**ids, "text": ids_of([0, 1, 2, 8])}  # one row without partner: nothing can be shared
    alone = ContrastiveLoss(modality_alignment=True)(embeddings, shifted, inputs[0], [pair("rgb", "text")])
    plain = ContrastiveLoss()(embeddings, shifted, inputs[0], [pair("rgb", "text")])
    torch.testing.assert_close(alone - plain, torch.tensor(naive_alignment(embeddings), dtype=torch.float64))


def test_tiles_of_large_logits_stay_finite(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_LOGITS", 32)
    x = F.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    embeddings, ids = {"rgb_embedding": x, "text_embedding": -x}, {"rgb": ids_of(range(12)), "text": ids_of(range(12))}
    value = ContrastiveLoss()(embeddings, ids, torch.tensor(1e4), [pair("rgb", "text")])
    value.backward()
    assert value.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_modality_alignment_of_a_single_modality_has_no_negatives():
    embeddings, ids = batch_of({"rgb": [0, 1, 2]})
    with pytest.warns(UserWarning, match="No example of a batch has both modalities of a pair"):
        value = ContrastiveLoss(modality_alignment=True)(embeddings, ids, torch.tensor(1.0), [pair("rgb", "text")])
    assert value.item() == pytest.approx(naive_alignment(embeddings))


@pytest.mark.parametrize("modality_alignment", [False, True], ids=["plain", "aligned"])
def test_one_example_is_enough(modality_alignment):
    embeddings, ids = batch_of({"rgb": [4], "text": [4]})
    scale = torch.tensor(2.0, requires_grad=True)
    inputs = [x.requires_grad_() for x in embeddings.values()]
    value = ContrastiveLoss(modality_alignment=modality_alignment)(embeddings, ids, scale, [pair("rgb", "text")])
    value.backward()
    assert value.item() == pytest.approx(
        naive_alignment({k: x.detach() for k, x in embeddings.items()}) if modality_alignment else 0
    )
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (scale, *inputs))


def test_batch_without_pairs_gives_a_connected_zero_and_one_warning():
    embeddings, ids = batch_of({"rgb": [0, 1], "text": [2, 3]})
    embeddings["rgb_embedding"][0] = torch.inf  # times zero it would be NaN
    inputs = [*(x.requires_grad_() for x in embeddings.values()), torch.tensor(2.0, requires_grad=True)]
    loss, pairs = ContrastiveLoss(), [pair("rgb", "text"), pair("text", "audio")]
    with pytest.warns(UserWarning, match=r"both modalities of a pair \(rgb–text or text–audio\)"):
        value = loss(embeddings, ids, inputs[-1], pairs)
    value.backward()
    assert value == 0
    assert all(x.grad is not None and not x.grad.any() for x in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(embeddings, ids, inputs[-1], pairs)


def test_modality_outside_all_matches_still_gets_a_gradient():
    embeddings, ids = batch_of({"rgb": [0, 1], "text": [0, 1], "audio": [5]})
    audio = embeddings["audio_embedding"].requires_grad_()
    ContrastiveLoss()(embeddings, ids, torch.tensor(2.0), [pair("rgb", "text"), pair("rgb", "audio")]).backward()
    assert audio.grad is not None
    assert not audio.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_half_precision_is_summed_in_float32(tile_logits, dtype, autocast):
    exact, ids = batch_of({"rgb": range(6), "text": range(6)}, size=8)
    halves = {key: x.to(dtype).requires_grad_() for key, x in exact.items()}
    singles = {key: x.detach().float().requires_grad_() for key, x in halves.items()}
    scale, pairs = torch.tensor(10.0), [pair("rgb", "text")]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = ContrastiveLoss()(halves, ids, scale, pairs)
    value.backward()
    expected = ContrastiveLoss()(singles, ids, scale, pairs)
    expected.backward()
    torch.testing.assert_close(value, expected)
    for key, x in halves.items():
        torch.testing.assert_close(x.grad, singles[key].grad.to(dtype))


def test_l2_normalize_divides_by_the_norm():
    embeddings, ids = batch_of({"rgb": range(4), "text": range(4)})
    unit = {key: x / x.norm(dim=1, keepdim=True) for key, x in embeddings.items()}
    scale, pairs = torch.tensor(4.0), [pair("rgb", "text")]
    torch.testing.assert_close(
        ContrastiveLoss(l2_normalize=True)(embeddings, ids, scale, pairs), ContrastiveLoss()(unit, ids, scale, pairs)
    )


def test_cached_labels_serve_batches_of_any_size_and_are_made_once():
    loss, scale, pairs = ContrastiveLoss(cache_labels=True), torch.tensor(2.0), [pair("rgb", "text")]
    for rows in (range(6), range(3), [2, 0, 1], range(8)):
        embeddings, ids = batch_of({"rgb": range(len(rows)), "text": rows})
        torch.testing.assert_close(loss(embeddings, ids, scale, pairs), ContrastiveLoss()(embeddings, ids, scale, pairs))
    cpu = torch.device("cpu")
    assert loss.row_numbers(5, cpu).data_ptr() == loss.row_numbers(8, cpu).data_ptr()


def test_batch_without_any_known_modality_is_an_error():
    embeddings, ids = batch_of({"audio": [0]})
    with pytest.raises(ValueError, match=r"Given: audio_embedding\. Expected some of: rgb_embedding, text_embedding\."):
        ContrastiveLoss()(embeddings, ids, torch.tensor(1.0), [pair("rgb", "text")])


@pytest.mark.parametrize("modality_alignment", [False, True], ids=["plain", "aligned"])
def test_embeddings_of_different_size_are_an_error_with_names_and_sizes(modality_alignment):
    embeddings = {"rgb_embedding": torch.zeros(2, 3), "text_embedding": torch.zeros(2, 4)}
    ids = {"rgb": ids_of([0, 1]), "text": ids_of([0, 1])}
    with pytest.raises(ValueError, match="'rgb' has 3, 'text' has 4"):
        ContrastiveLoss(modality_alignment=modality_alignment)(embeddings, ids, torch.tensor(1.0), [pair("rgb", "text")])


def test_embeddings_per_token_are_an_error_that_names_pooling():
    with pytest.raises(ValueError, match=r"'rgb' have shape \(2, 5, 3\).*needs a pooling"):
        ContrastiveLoss()(
            {"rgb_embedding": torch.zeros(2, 5, 3)}, {"rgb": ids_of([0, 1])}, torch.tensor(1.0), [pair("rgb", "text")]
        )


def test_embeddings_without_ids_are_an_error():
    embeddings, ids = batch_of({"rgb": [0], "text": [0]})
    with pytest.raises(ValueError, match=r"embeddings of 'text' but no example ids\. Ids exist for: rgb\."):
        ContrastiveLoss()(embeddings, {"rgb": ids["rgb"]}, torch.tensor(1.0), [pair("rgb", "text")])
