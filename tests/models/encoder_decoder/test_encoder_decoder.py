"""The model as a whole: encoding, likelihoods, hidden losses, generated pairs."""

import copy

import pytest
import torch
from torch import Tensor, nn

from mmkit.models.encoder_decoder import EncoderDecoder, row_seeds, shift_right
from mmkit.modules.decoders import TransformerDecoder
from mmkit.modules.encoders import TextTransformer, VisionTransformer
from mmkit.modules.encoders.sequence_encoder import SequenceEncoder


# Shapes: B rows, L source positions, T target positions, S positions of the memory.

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
VAE = {
    "enc_output_name": "z",
    "transform": {"q": {"cls_name": "cond_gaussian", "hidden_size": 16, "latent_size": 6}},
    "loss": {"kl": {"cls_name": "vae"}},
}


def text_encoder(**options) -> nn.Module:
    return SequenceEncoder(**({"vocab_size": 9, "hidden_size": 16, "num_layers": 1, "dropout": 0.0} | options))


def image_encoder(**options) -> nn.Module:
    return VisionTransformer(**({"image_size": 8, "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2} | options))


def decoder(**options) -> nn.Module:
    return TransformerDecoder(**({"vocab_size": 9, "hidden_size": 16, "num_layers": 1, "dropout": 0.0} | options))


def model(**options) -> EncoderDecoder:
    torch.manual_seed(0)
    if "encoders" not in options:
        options = {"encoder": text_encoder()} | options
    sizes = {"memory_size": 6} if "hiddens" in options else {}
    return EncoderDecoder(**({"decoder": decoder(**sizes)} | IDS | options)).eval()


def texts(batch: int = 4, length: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    mask_BL = torch.arange(length) < torch.tensor([6, 4, 5, 3])[torch.arange(batch) % 4].unsqueeze(1)
    ids_BL = torch.randint(3, 9, (batch, length), generator=generator) * mask_BL
    return {"text": ids_BL, "text_attention_mask": mask_BL.long()}


LABELS = torch.tensor([[3, 4, 5, 2], [6, 2, -100, -100], [7, 8, 2, -100], [2, -100, -100, -100]])
READ = shift_right(LABELS, 1, 0)


def test_without_hiddens_the_decoder_reads_the_encoder():
    one, batch = model(), texts()
    outputs = one.encode(batch)
    states = one.encoders["text"](batch)[0]
    assert torch.equal(outputs["enc_output"], states)
    assert torch.equal(outputs["enc_output_mask"].bool(), batch["text_attention_mask"].bool())
    expected = one.decoder(READ, None, states, batch["text_attention_mask"]).logits
    for memory in (outputs, (states, batch["text_attention_mask"])):
        torch.testing.assert_close(one.decode_logits(READ, memory), expected)
    torch.testing.assert_close(one(batch, READ)[0], expected)
    unmasked = one.decoder(READ, None, states).logits
    torch.testing.assert_close(one.decode_logits(READ, states), unmasked)
    assert not torch.allclose(unmasked, expected)
    losses = one.hidden_losses(outputs, READ, LABELS, batch)
    assert {name: float(value) for name, value in losses.items()} == {"loss": 0.0}


def test_padding_of_source_and_target_changes_no_likelihood():
    one, batch = model(hiddens=VAE), texts()
    z, mask = (one.encode(batch)[name] for name in ("enc_output", "enc_output_mask"))
    expected = one.log_likelihood(z, READ, LABELS, mask_NS=mask)
    wider = {name: torch.nn.functional.pad(value, (0, 3)) for name, value in batch.items()}
    labels = torch.nn.functional.pad(LABELS, (0, 2), value=-100)
    outputs = one.encode(wider)
    padded = one.log_likelihood(outputs["z"], shift_right(labels, 1, 0), labels, mask_NS=outputs["enc_output_mask"])
    torch.testing.assert_close(padded, expected)


def test_the_likelihood_of_several_latents_a_text_is_that_of_each():
    one, generator = model(hiddens=VAE), torch.Generator().manual_seed(5)
    z_NSZ, rows_N = torch.randn(6, 3, 6, generator=generator), torch.tensor([0, 1, 2, 3, 1, 1])
    together = one.log_likelihood(z_NSZ, READ, LABELS, rows_N)
    for n, row in enumerate(rows_N.tolist()):
        logits = one.decode_logits(READ[row : row + 1], z_NSZ[n : n + 1])[0].log_softmax(-1)
        expected = sum(logits[t, label] for t, label in enumerate(LABELS[row].tolist()) if label >= 0)
        torch.testing.assert_close(together[n], expected)
    with pytest.raises(ValueError, match=r"There are 6 latents and 4 texts\. Say in rows_N which belongs to which\."):
        one.log_likelihood(z_NSZ, READ, LABELS)


def test_a_hidden_loss_gets_the_likelihood_and_pairs_of_this_batch():
    one, batch, seen = model(hiddens=VAE).train(), texts(), {}
    one.hiddens.apply_loss_transforms = lambda outputs, batch_data: seen.update(batch_data)  # pyright: ignore
    outputs = one.encode(batch)
    one.hidden_losses(outputs, READ, LABELS, batch)
    assert torch.equal(seen["text"], batch["text"])
    rows, z = torch.tensor([2, 0, 2]), torch.randn(3, 6, 6)
    expected = one.log_likelihood(z, READ, LABELS, rows, outputs["enc_output_mask"][rows])
    torch.testing.assert_close(seen["log_likelihood"](z, rows), expected)
    pairs = seen["generate_pairs"](outputs["z"])
    assert pairs["hiddens"].shape[1] <= LABELS.shape[1] + 1
    assert pairs["z_mean"].shape == (*pairs["hiddens"].shape[:2], 6)
    (pairs["log_p_x_given_z"].sum() + pairs["z"].sum()).backward()
    for part in (one.decoder, one.encoders["text"]):
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in part.parameters())


def test_generated_pairs_are_texts_of_the_model_with_their_likelihood():
    one, z_NSZ = model(hiddens=VAE), torch.randn(5, 3, 6)
    pairs = one.generate_pairs(z_NSZ, max_length=4, seed=3)
    drawn = one.generate(z_NSZ, method="sample", max_length=4, seed=3)
    labels = torch.full_like(drawn, -100)
    for n, row in enumerate(drawn.tolist()):
        length = row.index(2) + 1 if 2 in row else len(row)
        labels[n, :length] = drawn[n, :length]
    torch.testing.assert_close(pairs["log_p_x_given_z"], one.log_likelihood(z_NSZ, shift_right(labels, 1, 0), labels))
    rows = torch.tensor([4, 0])
    expected = one.log_likelihood(z_NSZ[:2], shift_right(labels, 1, 0)[rows], labels[rows])
    torch.testing.assert_close(pairs["log_likelihood"](z_NSZ[:2], rows), expected)
    for n in range(5):
        real = labels[n][labels[n] >= 0]
        text = torch.cat([torch.tensor([1]), real])[None]
        states = one.encode({"text": text, "text_attention_mask": torch.ones_like(text)})["hiddens"][0]
        torch.testing.assert_close(pairs["hiddens"][n, : len(real) + 1], states)
        assert pairs["hiddens_mask"][n].sum() == len(real) + 1


def test_generation_is_without_dropout_and_leaves_the_mode():
    one = model(decoder=decoder(dropout=0.5)).train()
    one.decoder.norm.eval()
    z_BSZ = torch.randn(3, 2, 16)
    modes = [module.training for module in one.modules()]
    texts = [one.generate(z_BSZ, max_length=7, method="sample", seed=1).tolist() for _ in range(3)]
    assert texts[0] == texts[1] == texts[2]
    assert [module.training for module in one.modules()] == modes


def test_chunks_of_a_sample_are_the_sample():
    one, z_BSZ = model(), torch.randn(5, 2, 16)
    whole = one.generate(z_BSZ, method="sample", max_length=5, seed=9)
    for first in (0, 2):
        part = one.generate(z_BSZ[first : first + 3], method="sample", max_length=5, seed=row_seeds(9, 3, first))
        assert torch.equal(part, whole[first : first + 3, : part.shape[1]])


def paired_batch() -> dict:
    """Four examples: two with both, one with text only, one with an image only; the images in another order."""
    batch: dict = texts(3)
    batch["rgb"] = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    batch["example_ids"] = {"text": torch.tensor([[0, 1], [0, 2], [0, 3]]), "rgb": torch.tensor([[0, 3], [0, 4], [0, 1]])}
    return batch | {"dataset_index": torch.zeros(4, dtype=torch.long), "example_index": torch.tensor([1, 2, 3, 4])}


def test_several_modalities_are_matched_by_their_ids():
    one = model(encoders={"text": text_encoder(), "rgb": image_encoder(pooling="none")})
    batch = paired_batch()
    outputs = one.encode(batch)
    images, words = one.encoders["rgb"](batch)[0], one.encoders["text"](batch)[0]
    assert one.modalities == ["text", "rgb"]
    torch.testing.assert_close(outputs["text.hiddens"], words)
    torch.testing.assert_close(outputs["rgb.hiddens"], torch.stack([images[2], torch.zeros_like(images[0]), images[0]]))
    assert outputs["rgb.hiddens_mask"].tolist() == [[True] * 4, [False] * 4, [True] * 4]
    torch.testing.assert_close(outputs["hiddens"], torch.cat([outputs["text.hiddens"], outputs["rgb.hiddens"]], dim=1))
    assert outputs["hiddens_mask"].sum(1).tolist() == [6 + 4, 4, 5 + 4]
    without_target = {name: value for name, value in batch.items() if not name.startswith("text")}
    without_target["example_ids"] = {"rgb": batch["example_ids"]["rgb"]}
    outputs = one.encode(without_target)
    assert outputs["hiddens_mask"].sum(1).tolist() == [4, 0, 4, 4]  # all four examples; no text is one hidden position
    assert one.encode({"rgb": batch["rgb"]})["hiddens_mask"].tolist() == [[False] + [True] * 4] * 3


def test_a_missing_modality_changes_nothing_for_the_decoder():
    one, batch = model(encoders={"text": text_encoder(), "rgb": image_encoder(pooling="none")}), paired_batch()
    logits = one(batch, READ[:3])[0]
    alone = one({name: batch[name][1:2] for name in ("text", "text_attention_mask")}, READ[1:2])[0]
    torch.testing.assert_close(logits[1:2], alone)


def test_an_image_is_decoded_as_the_text_of_its_example():
    one, batch = model(encoder=image_encoder(pooling="none"), hiddens=VAE), paired_batch()
    outputs = one.encode(batch)
    assert one.modalities == ["rgb"]
    torch.testing.assert_close(outputs["hiddens"][[0, 2]], one.encoders["rgb"](batch)[0][[2, 0]])
    assert outputs["enc_output_mask"].any(1).tolist() == [True, False, True]
    only_images = {name: value for name, value in batch.items() if not name.startswith("text")}
    only_images["example_ids"] = {"rgb": batch["example_ids"]["rgb"]}
    assert len(one.encode(only_images)["z"]) == 3  # its own rows where no target is asked for
    with pytest.raises(ValueError, match=r"What is decoded \(text\) cannot be encoded again: there are encoders of rgb\."):
        one.generate_pairs(outputs["z"])


def test_a_pooled_encoder_gives_one_position():
    outputs = model(encoder=TextTransformer(9, width=16, depth=1, num_heads=2)).encode(texts())
    assert outputs["hiddens"].shape == (4, 1, 16)
    assert outputs["hiddens_mask"].all()


def test_a_perceiver_gives_its_latents_all_of_them_real():
    one = model(encoder=text_encoder(arch="perceiver", hidden_steps=3), hiddens=VAE)
    outputs = one.encode(texts())
    assert outputs["z"].shape == (4, 3, 6)
    assert outputs["enc_output_mask"].all()
    assert one.hidden_losses(outputs, READ, LABELS, texts())["kl_loss"].isfinite()


def test_a_projection_makes_sizes_fit():
    one = model(hiddens=VAE, decoder=decoder(memory_size=10), memory_projection=True)
    assert one.memory_projection.weight.shape == (10, 6)
    outputs = one.encode(texts())
    expected = one.decoder(READ, None, one.memory_projection(outputs["z"]), outputs["enc_output_mask"]).logits
    torch.testing.assert_close(one.decode_logits(READ, outputs), expected)


def test_special_ids_come_from_the_tokenizer_where_none_were_given():
    one = model(bos_id=None)
    with pytest.raises(ValueError, match=r"The model has no bos_id\. Set model\.bos_id, or take the tokenizer's"):
        one.generate(torch.randn(2, 3, 16))
    one.use_special_ids(5, 2, None)
    assert (one.bos_id, one.eos_id, one.pad_id) == (5, 2, 0)
    with pytest.raises(ValueError, match=r"model\.eos_id=2, but the tokenizer's is 3\. Leave model\.eos_id out\."):
        one.use_special_ids(5, 3, 0)


def test_it_copies_saves_compiles_and_builds_on_meta():
    one, batch = model(hiddens=VAE), texts()
    logits, _ = one(batch, READ)
    again = copy.deepcopy(one)
    again.load_state_dict(one.state_dict())
    assert torch.equal(again(batch, READ)[0], logits)
    torch.testing.assert_close(torch.compile(one, backend="eager")(batch, READ)[0], logits)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(one(batch, READ)[0].float(), logits, rtol=0.1, atol=0.05)
        assert one.generate(one.encode(batch)["z"], max_length=3).shape[0] == 4
    halved = one.to(torch.bfloat16)
    assert halved.decode_logits(READ, torch.randn(4, 3, 6)).dtype == torch.bfloat16
    with torch.device("meta"):
        one = model(hiddens=VAE)
        outputs = one.encode({name: value.to("meta") for name, value in batch.items()})
        losses = one.hidden_losses(outputs, READ.to("meta"), LABELS.to("meta"), {})
        assert one.log_likelihood(outputs["z"], READ.to("meta"), LABELS.to("meta")).shape == (4,)
    assert losses["loss"].shape == ()
