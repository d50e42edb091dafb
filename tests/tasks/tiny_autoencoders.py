"""Small encoder–decoders for tests of their task."""

from functools import partial

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from mmkit.datasets.tokenizers import CharacterTokenizer
from mmkit.models.encoder_decoder import EncoderDecoder
from mmkit.modules.decoders import TransformerDecoder
from mmkit.modules.encoders import SequenceEncoder
from mmkit.tasks import EncoderDecoderPretraining


SIZE, LATENT = 12, 4
TEXTS = ["abc", "a", "cab", "bbbb", "", "ba"]
GAUSSIAN = {"q": {"cls_name": "cond_gaussian", "hidden_size": SIZE, "latent_size": LATENT}}
VAE = {"enc_output_name": "z", "transform": GAUSSIAN, "loss": {"vae": {"cls_name": "vae"}}}
FAITHFUL = {**VAE, "loss": {"vae": {"cls_name": "vae", "loss_weight": 0.001}}}
MIM = {"enc_output_name": "z", "transform": GAUSSIAN, "loss": {"mim": {"cls_name": "a_mim"}}}


def tokenizer():
    return CharacterTokenizer(alphabet="abc", max_length=8)


def model_of(hiddens=None, arch="perceiver", dropout=0.0, **options):
    vocab = tokenizer().vocab_size
    sizes = {
        "hidden_size": SIZE,
        "num_layers": 1,
        "num_attention_heads": 2,
        "max_positions": 16,
        "dropout": dropout,
        "initializer_range": 0.25,
    }
    encoder = SequenceEncoder(vocab, arch=arch, hidden_steps=2, **sizes)
    decoder = TransformerDecoder(vocab, memory_size=LATENT if hiddens and "transform" in hiddens else SIZE, **sizes)
    return EncoderDecoder(decoder, encoder, hiddens=hiddens, **options)


def task_of(hiddens=None, seed=0, arch="perceiver", dropout=0.0, **arguments):
    torch.manual_seed(seed)
    arguments = {"tokenizer": tokenizer(), "optimizer": partial(torch.optim.AdamW, lr=0.01), **arguments}
    return EncoderDecoderPretraining(model_of(hiddens, arch, dropout), **arguments)


def batches(sizes=(3, 2, 1)):
    """The texts in batches of different sizes."""
    first = 0
    for size in sizes:
        yield tokenizer()(TEXTS[first : first + size])
        first += size


def trainer(**arguments):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", devices=1, num_sanity_val_steps=0, **quiet, **arguments)


def loader_of(data):
    """Batches in a loader, which draws a seed for its workers whether it has any or not: not from what a test looks at."""
    return DataLoader(list(data), batch_size=None, generator=torch.Generator())


def learn(task, texts, steps=120, lr=0.01):
    """Train on one batch, without a trainer."""
    batch, optimizer = tokenizer()(texts), torch.optim.AdamW(task.parameters(), lr=lr, weight_decay=0.0)
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        task.losses(batch, task(batch)).loss.backward()
        optimizer.step()


def fit(task, data, **arguments):
    loader = loader_of(data)
    trainer(log_every_n_steps=1, **arguments).fit(task, loader, loader)


def validated(task, data):
    [metrics] = trainer().validate(task, loader_of(data), verbose=False)
    return metrics
