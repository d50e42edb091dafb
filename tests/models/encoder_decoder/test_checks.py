"""What cannot work together is found out when the model is built."""

import pytest
import torch
from torch import nn

from mmkit.conf import index
from mmkit.models import EncoderDecoder, HFModel, MegaEncoder
from mmkit.models.encoder_decoder.sizes import memory_size_of, output_size_of
from mmkit.modules.decoders import TransformerDecoder
from mmkit.modules.encoders import VisionTransformer
from mmkit.modules.encoders.sequence_encoder import SequenceEncoder


LATENT = {"enc_output_name": "z", "transform": {"q": {"cls_name": "cond_gaussian", "hidden_size": 16, "latent_size": 6}}}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 9}


def text_encoder(hidden_size: int = 16, **options) -> SequenceEncoder:
    return SequenceEncoder(9, hidden_size, 1, **options)


def decoder(**options) -> TransformerDecoder:
    return TransformerDecoder(9, 16, 1, **options)


class OnlyTokens(nn.Module):
    """A decoder that reads no memory."""

    def forward(self, input_ids):
        return input_ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda: {}, r"takes `encoder`, or `encoders` by modality; neither was given\. Set one of them\."),
        (lambda: {"encoders": {}}, r"neither was given"),
        (lambda: {"encoder": text_encoder(), "encoders": {"text": text_encoder()}}, r"both was given"),
        (lambda: {"encoders": {"text": text_encoder()}, "modality": "text"}, r"modality='text' is of a single encoder"),
        (lambda: {"encoder": text_encoder(), "modality": "rgb"}, r"The encoder of 'rgb' \(SequenceEncoder\) reads 'text'\. "),
        (lambda: {"encoders": {"smell": text_encoder()}}, r"Unknown modality 'smell'"),
        (lambda: {"encoder": text_encoder(), "target_modality": "words"}, r"Unknown modality 'words'"),
        (
            lambda: {"encoder": text_encoder(), "decoder": HFModel("causal_lm", config=GPT2)},
            r"GPT2LMHeadModel has no cross-attention.*Set add_cross_attention=true .*or take TransformerDecoder",
        ),
        (lambda: {"encoder": text_encoder(), "decoder": OnlyTokens()}, r"OnlyTokens has no cross-attention"),
        (
            lambda: {"encoder": text_encoder(24)},
            r"attends to vectors of size 16, but enc_output \(hiddens\) has the size 24\. Set decoder\.memory_size=24 .*or mem",
        ),
        (lambda: {"encoder": text_encoder(), "hiddens": LATENT}, r"of size 16, but enc_output \(q\.z\) has the size 6"),
        (
            lambda: {"encoder": VisionTransformer(8, 4, width=16, depth=0, num_heads=2), "memory_projection": True},
            r"memory_projection maps from an unknown size to 16\. Set enc_output_size",
        ),
        (lambda: {"encoder": text_encoder(), "hiddens": {"enc_output_name": "zz"}}, r"nothing makes it"),
    ],
    ids=["neither", "no encoders", "both", "modality of many", "other modality", "unknown", "target", "gpt2", "no memory", "size",
         "latent size", "projection", "name"],
)  # fmt: skip
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(**({"decoder": decoder()} | arguments()))


class Passing(nn.Module):
    """A wrapper that hands on whatever it is given, as PEFT's do."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *args, **kwargs):
        return self.decoder(*args, **kwargs)


def test_a_wrapped_decoder_is_taken_and_given_the_mask_that_it_may_need():
    torch.manual_seed(0)
    wrapped = EncoderDecoder(Passing(decoder()), text_encoder(), pad_id=0).eval()
    ids = torch.tensor([[1, 3, 4], [1, 5, 0]])
    memory = torch.randn(2, 2, 16)
    expected = wrapped.decoder.decoder(ids, None, memory).logits
    logits = wrapped.decode_logits(ids, memory)
    torch.testing.assert_close(logits[0], expected[0])
    torch.testing.assert_close(logits[1, :2], expected[1, :2])


def test_an_encoder_decoder_is_no_decoder():
    transformers = pytest.importorskip("transformers")
    size = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    bart = transformers.BartForConditionalGeneration(transformers.BartConfig(vocab_size=9, **size))
    with pytest.raises(ValueError, match=r"BartForConditionalGeneration is an encoder-decoder of its own"):
        EncoderDecoder(bart, text_encoder())


def test_a_size_that_was_not_known_is_refused_when_it_shows():
    model = EncoderDecoder(decoder(), VisionTransformer(8, 4, width=12, depth=0, num_heads=2), pad_id=0)
    with pytest.raises(ValueError, match=r"TransformerDecoder attends to vectors of size 16, but enc_output has the size 12"):
        model({"rgb": torch.zeros(2, 3, 8, 8)}, torch.ones(2, 3, dtype=torch.long))


def test_several_encoders_must_have_one_size():
    encoders = {"text": text_encoder(), "audio": text_encoder(24, modality="audio")}
    ids = torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"do not fit together: text: 2 rows of size 16, audio: 2 rows of size 24\. Give all"):
        EncoderDecoder(decoder(), encoders=encoders).encode({"text": ids, "audio": ids})
    with pytest.raises(ValueError, match=r"There are encoders for text, audio, but the batch has: rgb\."):
        EncoderDecoder(decoder(), encoders=encoders).encode({"rgb": ids})
    encoders["audio"] = text_encoder(modality="audio")
    with pytest.raises(ValueError, match=r"text: 2 rows of size 16, audio: 1 rows of .* rows that differ need `example_ids`"):
        EncoderDecoder(decoder(), encoders=encoders).encode({"text": ids, "audio": ids[:1]})


def test_sizes_are_read_where_models_keep_them():
    mega = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "nffn_hidden_size": 8}
    assert output_size_of(MegaEncoder(vocab_size=9, shared_representation_size=4, **mega)) == 8
    assert output_size_of(text_encoder()) == 16
    assert output_size_of(nn.Identity()) is None
    assert memory_size_of(HFModel("causal_lm", config=GPT2 | {"add_cross_attention": True})) == 16
    assert memory_size_of(decoder(memory_size=6)) == 6


def test_positions_are_known_where_something_fixes_them():
    perceiver = text_encoder(arch="perceiver", hidden_steps=5)
    assert EncoderDecoder(decoder(memory_size=6), perceiver, hiddens=LATENT).num_positions == 5
    assert EncoderDecoder(decoder(), perceiver).num_positions == 5
    assert EncoderDecoder(decoder(), text_encoder()).num_positions is None
    both = {"text": perceiver, "audio": text_encoder(modality="audio")}
    assert EncoderDecoder(decoder(), encoders=both).num_positions is None
    assert EncoderDecoder(decoder(), encoders=both, hiddens={"enc_output_name": "text.hiddens"}).num_positions == 5
    both["audio"] = text_encoder(modality="audio", arch="perceiver", hidden_steps=2)
    assert EncoderDecoder(decoder(), encoders=both).num_positions == 7
    pool = {"transform": {"pool": {"cls_name": "mean_pool"}}, "enc_output_name": "pool.pooled"}
    assert EncoderDecoder(decoder(), text_encoder(), hiddens=pool).num_positions == 1


def test_they_are_registered():
    assert index.find("models", "EncoderDecoder").target.endswith("EncoderDecoder")
    assert index.find("modules/decoders", "TransformerDecoder").target.endswith("TransformerDecoder")
