import torch
from torch import nn

from mmkit.datasets.tokenizers import CharacterTokenizer, EncodedText


class MeanToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(300, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs):
        mask = inputs["text_attention_mask"].unsqueeze(-1)
        return (self.dropout((self.embed(inputs["text"]) * mask).sum(1) / mask.sum(1)),)


def test_text_becomes_what_the_frozen_encoder_makes_of_its_tokens():
    encoder = MeanToken()
    encode = EncodedText(CharacterTokenizer(), encoder)
    features = encode(["ab", "a longer text"])
    tokens = CharacterTokenizer()(["ab"])["text"][0]
    assert list(features) == ["text"]
    assert not features["text"].requires_grad
    torch.testing.assert_close(features["text"][0], encoder.embed.weight[tokens].mean(0))
