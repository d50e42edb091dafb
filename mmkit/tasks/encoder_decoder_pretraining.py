"""Training of encoder–decoders whose hiddens are transformed and have losses of their own: MIM, VAE, plain autoencoders."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from mmkit.conf import external_store
from mmkit.datasets.core import Modalities
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.models.encoder_decoder import EncoderDecoder, shift_right
from mmkit.modules.metrics.sequence_reconstruction import SequenceReconstruction
from mmkit.modules.metrics.token_prediction import TokenSums, token_ratios, token_sums
from mmkit.rng import States, captured, derived_key, restore, seed_all
from mmkit.tasks.compiling import compiled_inside, never_compiled
from mmkit.tasks.encoder_decoder_checks import check_names, check_vocabulary
from mmkit.tasks.encoder_decoder_targets import begins_texts, target_of
from mmkit.tasks.gaussian_latents import GaussianLatents
from mmkit.tasks.hidden_terms import HiddenTerms, num_examples, weighted_sum
from mmkit.tasks.latent_sequences import LatentSequences


REDUCTIONS = ("mean", "sum")
_SUMS = "tokens/"  # no name of a hidden loss has a slash


# Shapes: B examples, T target tokens, V ids of the vocabulary, S hidden positions, Z latent size, D = Z.
class Prediction(NamedTuple):
    """What the model makes of a batch.

    Attributes:
        hiddens: Every named output of the hidden transformations, ``enc_output`` (B, S, Z) and ``enc_output_mask`` (B, S).
        inputs: What the decoder reads (B, T): the labels, shifted right, after the begin token.
        labels: What it should write (B, T), -100 on padding.
        logits: Scores (B, T, V).
    """

    hiddens: dict[str, Tensor]
    inputs: Tensor
    labels: Tensor
    logits: Tensor


class StepLosses(NamedTuple):
    """Losses of one batch, all scalars.

    Attributes:
        loss: tokens_loss_weight · tokens_loss + hiddens_loss.
        tokens_loss: Cross entropy of the target, reduced as the task says.
        terms: Hidden losses, ``<name>_<term>``, and ``hiddens_loss``, their weighted sum; empty without hidden losses.
        sums: Of the target's tokens.
    """

    loss: Tensor
    tokens_loss: Tensor
    terms: dict[str, Tensor]
    sums: TokenSums


@external_store(group="task")
class EncoderDecoderPretraining(LatentSequences):
    """Train an encoder–decoder with hidden transformations and losses.

    It becomes a Mutual Information Machine (https://arxiv.org/abs/1910.03175), a variational autoencoder
    (https://arxiv.org/abs/1312.6114), or neither, by ``task.model.hiddens``. The loss is
    ``tokens_loss_weight · tokens_loss + Σ_i loss_weight_i · hidden_loss_i``.

    Logged as ``<stage>/<name>``: ``loss``, ``tokens_loss``, ``hiddens_loss`` (the weighted sum), every term ``<name>_<term>``,
    the present value ``<name>_weight`` of weights that follow a schedule, ``perplexity`` and ``accuracy`` of the target's tokens
    given those before them. Evaluation logs ratios over all tokens of the epoch, or over the examples that a hidden loss counts
    (``BaseHiddenLoss.num_examples``); for every Gaussian its diagnostics ``<transform>_<diagnostic>``; and with
    ``num_reconstructions`` the share ``exact_match`` of targets that greedy decoding meets whole. It draws, where a transform
    samples in evaluation, the same numbers every time.

    A batch has the inputs of the encoders and the target: ``<modality>_target`` (B, T) of the model's target modality, which a
    denoiser makes (without begin, with end, -100 on padding), or else that modality's ids themselves.

    Args:
        model: The encoder–decoder, with its encoders, decoder and hiddens.
        tokenizer: The one of the batches; for texts in and out. Its special tokens are the model's.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name. Embeddings are the latents of each modality alone,
            averaged over their positions.
        tokens_loss_reduction: ``"mean"`` over the target's tokens of a batch, or ``"sum"`` over each target's tokens and mean
            over the batch: with the loss ``vae`` a true evidence lower bound.
        label_smoothing: Share of the target that is spread over the vocabulary, in the loss but not in perplexity.
        num_reconstructions: Examples of every evaluation (of each rank) that are decoded greedily for ``exact_match``.

    Raises:
        ValueError: If an option is unknown, special tokens differ, or a hidden loss would be logged under a name of the task's
            or of a transformation's diagnostics.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        tokenizer: TextTokenizer | None = None,
        optimizer: partial[torch.optim.Optimizer] | None = None,
        lr_scheduler: dict[str, Any] | partial[torch.optim.lr_scheduler.LRScheduler] | None = None,
        evaluation_tasks: dict[str, Any] | None = None,
        tokens_loss_reduction: str = "mean",
        label_smoothing: float = 0.0,
        num_reconstructions: int = 0,
    ) -> None:
        super().__init__(optimizer=optimizer, lr_scheduler=lr_scheduler, evaluation_tasks=evaluation_tasks)
        if tokens_loss_reduction not in REDUCTIONS:
            raise ValueError(f"Unknown tokens_loss_reduction {tokens_loss_reduction!r}. Choose one of: {', '.join(REDUCTIONS)}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
        self.gaussians = GaussianLatents(model.hiddens, model.num_positions)
        check_names(model, self.gaussians)
        self.model = model
        self.tokenizer = tokenizer
        if tokenizer is not None:
            check_vocabulary(model, tokenizer)
            model.use_special_ids(tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
        if model.bos_id is None or model.pad_id is None:
            raise ValueError(
                f"The decoder needs a begin and a padding token, got bos_id={model.bos_id} and pad_id={model.pad_id}. Name a "
                "tokenizer that has them (/datasets/tokenizers@task.tokenizer: ByteTokenizer), or set task.model.bos_id, pad_id "
                "and eos_id."
            )
        self.bos_id, self.pad_id, self.begins = model.bos_id, model.pad_id, begins_texts(tokenizer)
        self.tokens_loss_reduction = tokens_loss_reduction
        self.label_smoothing = label_smoothing
        self.num_reconstructions = num_reconstructions
        self.reconstruction = SequenceReconstruction(label_smoothing)
        self.hidden_terms = HiddenTerms(model.hiddens)
        self._num_decoded = 0
        self._step_of_checkpoint: int | None = None

    def modules_reading(self) -> dict[str, str]:
        """Every modality that is read, with the key of the component that reads it; for ``mmkit plan``."""
        names = self.model.modalities
        encoders = {name: f"task.model.encoders.{name}" if len(names) > 1 else "task.model.encoder" for name in names}
        return {self.model.target_modality: "task.model.decoder"} | encoders

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._step_of_checkpoint = checkpoint.get("global_step")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.model.hiddens.global_step = self.global_step  # schedules follow optimizer steps, which a resumed run goes on with

    @compiled_inside
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        _, losses = self._scored(batch)
        self.log_step(_logged(losses))
        return losses.loss

    def _scored(self, batch: dict[str, Any]) -> tuple[Prediction, StepLosses]:
        prediction = self._predict(batch)  # not forward, which Lightning replaces in a compiled task
        return prediction, self.losses(batch, prediction)

    def forward(self, batch: Mapping[str, Any]) -> Prediction:
        """Encode a batch and predict every token of its target from those before it.

        Raises:
            ValueError: If the batch has no target.
        """
        return self._predict(batch)

    def _predict(self, batch: Mapping[str, Any]) -> Prediction:
        labels_BT = target_of(batch, self.model.target_modality, self.begins)
        input_BT = shift_right(labels_BT, self.bos_id, self.pad_id)
        hiddens = self.model.encode(batch)
        return Prediction(hiddens, input_BT, labels_BT, self.model.decode_logits(input_BT, hiddens))

    def losses(self, batch: Mapping[str, Any], prediction: Prediction) -> StepLosses:
        """The joint loss and its terms."""
        labels_BT = prediction.labels
        sums = token_sums(prediction.logits, labels_BT, self.label_smoothing)
        count = sums.num_tokens.clamp(min=1) if self.tokens_loss_reduction == "mean" else max(len(labels_BT), 1)
        tokens_loss = sums.loss / count
        terms = self.model.hidden_losses(prediction.hiddens, prediction.inputs, labels_BT, batch)
        return StepLosses(self.model.hiddens.joint_loss(tokens_loss, terms), tokens_loss, _named(terms), sums)

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        sums = {name.removeprefix(_SUMS): means.pop(name) for name in list(means) if name.startswith(_SUMS)}
        ratios = token_ratios({**sums, "loss": 0.0}) if sums else {}
        return means | {name: ratios[name] for name in ("perplexity", "accuracy") if name in ratios}

    # Evaluation

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    @compiled_inside
    def _evaluate(self, stage: str, batch: dict[str, Any], batch_idx: int) -> None:
        states = _seeded(self.global_rank, batch_idx)
        try:
            self._take_in(batch, *self._scored(batch))
            if self._evaluations(stage):
                self.evaluate_batch(stage, {**batch, **self._embeddings(batch)}, batch_idx)
        finally:
            _put_back(states)

    @never_compiled  # metrics count their updates, and every count would be compiled anew
    def _take_in(self, batch: dict[str, Any], prediction: Prediction, losses: StepLosses) -> None:
        counts = num_examples(self.model.hiddens, prediction.hiddens, batch, len(prediction.labels))
        self.hidden_terms.update(losses.terms, counts)
        weights = {name: losses.terms[name] for name in losses.terms if name not in {"hiddens_loss", *self.hidden_terms.owners}}
        self.log_evaluation(weights, weight=1)
        self.gaussians.update(prediction.hiddens)
        decoded_NG = self._decoded(prediction)
        self.reconstruction.update(prediction.logits, prediction.labels, decoded_NG=decoded_NG)

    def _decoded(self, prediction: Prediction) -> Tensor | None:
        """Greedy reconstructions (N, G) of the first examples of a batch; None once there are enough."""
        num_rows = min(self.num_reconstructions - self._num_decoded, len(prediction.labels))
        if num_rows <= 0:
            return None
        self._num_decoded += num_rows
        z_BSZ, mask_BS = (prediction.hiddens[name][:num_rows] for name in ("enc_output", "enc_output_mask"))
        return self.model.generate(z_BSZ, mask_BS, method="greedy", max_length=prediction.labels.shape[1])

    def _embeddings(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        present = [Modalities.get_modality(name) for name in self.model.modalities if name in batch]
        return {modality.embedding: self.encode(batch, modality.name) for modality in present}

    def _start_evaluation(self, stage: str) -> None:
        loaded = None if self.trainer.state.fn == TrainerFn.FITTING else self._step_of_checkpoint
        self.model.hiddens.global_step = self.global_step if loaded is None else loaded  # of the weights that are evaluated
        self.reconstruction.reset()
        self.gaussians.reset()
        self.hidden_terms.reset()
        self._num_decoded = 0
        super()._start_evaluation(stage)

    def _end_evaluation(self, stage: str) -> None:
        super()._end_evaluation(stage)
        if self.trainer.sanity_checking or not self.reconstruction.update_called:
            return
        ratios = self.reconstruction.compute()
        values = (self._epoch_losses(ratios) if ratios else {}) | self.gaussians.compute()
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    def _epoch_losses(self, ratios: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of an epoch, of which the joint one is made as in a step."""
        per_token, per_example = ratios.pop("loss"), ratios.pop("loss_per_example")
        terms = self.hidden_terms.compute()
        hidden = per_token.new_tensor(float(weighted_sum(self.model.hiddens, terms)))
        tokens_loss = per_token if self.tokens_loss_reduction == "mean" else per_example
        loss = self.model.hiddens.joint_loss(tokens_loss, {"loss": hidden})
        known = {"hiddens_loss": hidden} if len(self.model.hiddens.losses) else {}
        return {"loss": loss, "tokens_loss": tokens_loss, **known, **terms, **ratios}


@never_compiled  # every seed would be compiled anew
def _seeded(rank: int, batch_idx: int) -> States:
    """Let an evaluation batch draw the same numbers in every epoch; returns the states that training goes on with."""
    states = captured()
    seed_all(derived_key("evaluation", rank, batch_idx))
    return states


@never_compiled
def _put_back(states: States) -> None:
    restore(states)


def _named(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Terms as they are logged: the weighted sum as ``hiddens_loss``; none without hidden losses."""
    others = {name: value for name, value in terms.items() if name != "loss"}
    return {"hiddens_loss": terms["loss"], **others} if others else {}


def _logged(losses: StepLosses) -> dict[str, Tensor]:
    sums = {f"{_SUMS}{name}": value for name, value in losses.sums._asdict().items() if name != "loss"}
    return {"loss": losses.loss, "tokens_loss": losses.tokens_loss, **losses.terms, **sums}
