"""An encoder, hidden transformations, and a decoder that reads what they make."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.hiddens import get_hiddens_module
from mmkit.hiddens.checks import check_positions
from mmkit.models.encoder_decoder.checks import check_cross_attention, encoders_by_modality
from mmkit.models.encoder_decoder.encoding import encode_all
from mmkit.models.encoder_decoder.evaluating import evaluating
from mmkit.models.encoder_decoder.generation import generate
from mmkit.models.encoder_decoder.sizes import check_memory_size, enc_output_size_of, num_positions_of, precision_of, projection
from mmkit.models.encoder_decoder.targets import encoder_input, labels_of, real_inputs, sequence_log_likelihood, shift_right


# Shapes: B rows of the batch, N rows of latents, S positions of what the decoder attends to, Z its size, T target positions,
# V vocabulary.

Memory = Mapping[str, Tensor] | tuple[Tensor, Tensor | None] | Tensor


@external_store(group="models")
class EncoderDecoder(nn.Module):
    """Encode a batch, transform the hidden states, and decode a token sequence from them.

    Without ``hiddens`` this is a sequence-to-sequence model (https://arxiv.org/abs/1706.03762); with hidden transformations and
    losses, a VAE (https://arxiv.org/abs/1312.6114) or a MIM (https://arxiv.org/abs/1910.03175).

    Args:
        decoder: ``TransformerDecoder``, or any decoder of Hugging Face's calling convention with cross-attention, e.g.
            ``MegaForCausalLM`` with ``add_cross_attention=true``.
        encoder: The encoder, where there is one. It returns a sequence whose first item is (B, S, H), or (B, H) when pooled.
        encoders: Encoders by modality, where there are several; all of one size H.
        hiddens: Hidden transformations and losses: the arguments of ``HiddensPipeline``. None hands the encoder's output on.
        modality: What the single encoder reads. Default: its own ``modality``, or ``"text"``.
        target_modality: What the decoder writes; with several encoders, its rows of a batch are the rows of everything.
        bos_id: Token that the decoder begins with. This and the next two: ``use_special_ids`` sets them, too.
        eos_id: Token that ends a text.
        pad_id: Token of padding.
        memory_projection: Map what the decoder attends to linearly to the size that it takes.
        enc_output_size: Size Z of what the transformations make; needed by ``memory_projection`` where it is not known.

    Attributes:
        hiddens: The pipeline of hidden transformations and losses.
        modalities: The modalities that are encoded.

    Raises:
        ValueError: Not exactly one of ``encoder`` and ``encoders``, a decoder without cross-attention, or of another memory size,
            or a loss that needs as many positions for every example; with what to set.
    """

    def __init__(
        self,
        decoder: nn.Module,
        encoder: nn.Module | None = None,
        encoders: dict[str, nn.Module] | None = None,
        hiddens: dict[str, Any] | None = None,
        modality: str | None = None,
        target_modality: str = "text",
        bos_id: int | None = None,
        eos_id: int | None = None,
        pad_id: int | None = None,
        memory_projection: bool = False,
        enc_output_size: int | None = None,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders_by_modality(encoder, encoders, modality))
        check_cross_attention(decoder)
        self.decoder = decoder
        self.target_modality = Modalities.get_modality(target_modality).name
        self.bos_id, self.eos_id, self.pad_id = bos_id, eos_id, pad_id
        self.hiddens = get_hiddens_module(hiddens, [f"{m}.{x}" for m in self.encoders for x in ("hiddens", "hiddens_mask")])
        losses: Any = dict(self.hiddens.losses.items())
        check_positions(losses, self.hiddens.enc_output_name, self.num_positions)
        size = enc_output_size or enc_output_size_of(self.hiddens, dict(self.encoders.items()))
        self.memory_projection = projection(size, decoder) if memory_projection else None
        if not memory_projection:
            check_memory_size(size, decoder, f"enc_output ({self.hiddens.enc_output_name})")

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities that are encoded."""
        return list(self.encoders)

    @property
    def num_positions(self) -> int | None:
        """Positions S of ``enc_output``, if they are always as many: a transformation or every encoder says so."""
        return num_positions_of(self.hiddens, dict(self.encoders.items()))

    def use_special_ids(self, bos_id: int | None, eos_id: int | None, pad_id: int | None) -> None:
        """Take over the special ids of a tokenizer where none were given.

        Raises:
            ValueError: Another one was given.
        """
        for name, value in (("bos_id", bos_id), ("eos_id", eos_id), ("pad_id", pad_id)):
            own = getattr(self, name)
            if own is not None and value is not None and own != value:
                raise ValueError(f"model.{name}={own}, but the tokenizer's is {value}. Leave model.{name} out.")
            setattr(self, name, value if own is None else own)

    def forward(self, inputs: Mapping[str, Any], decoder_input_ids_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode and decode: the logits (B, T, V), and all named outputs; see :meth:`encode` and :meth:`decode_logits`."""
        outputs = self.encode(inputs)
        return self.decode_logits(decoder_input_ids_BT, outputs), outputs

    def encode(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Encode a batch and apply the hidden transformations.

        Args:
            inputs: A batch: tensors by modality name, with their masks. The rows of several modalities are matched by
                ``example_ids``; those of the target, where the batch has it, are the rows of the result. What an example lacks
                is zeros with mask 0.

        Returns:
            All named outputs; ``enc_output`` (B, S, Z) is what the decoder attends to, ``enc_output_mask`` (B, S) where that is
            real.
        """
        named = encode_all(dict(self.encoders.items()), inputs, self.target_modality)
        return self.hiddens.apply_hidden_transforms(named, inputs)

    def decode_logits(
        self, decoder_input_ids_BT: Tensor, outputs: Memory, decoder_attention_mask_BT: Tensor | None = None
    ) -> Tensor:
        """The logits (B, T, V) of the token that follows each one.

        Args:
            decoder_input_ids_BT: Tokens from ``bos_id`` on, padded behind.
            outputs: What ``encode`` returned; or ``enc_output`` (B, S, Z), alone or with its mask.
            decoder_attention_mask_BT: Nonzero where these tokens are real. Default: up to the last that is not ``pad_id``.
        """
        memory_BSZ, memory_mask_BS = self._memory(outputs)
        if decoder_attention_mask_BT is None and getattr(self.decoder, "needs_attention_mask", True):
            decoder_attention_mask_BT = real_inputs(decoder_input_ids_BT, self._special_id("pad_id"))
        return self.decoder(
            input_ids=decoder_input_ids_BT,
            attention_mask=decoder_attention_mask_BT,
            encoder_hidden_states=memory_BSZ,
            encoder_attention_mask=memory_mask_BS,
            use_cache=False,
        ).logits

    def log_likelihood(
        self,
        z_NSZ: Tensor,
        decoder_input_ids_BT: Tensor,
        labels_BT: Tensor,
        rows_N: Tensor | None = None,
        mask_NS: Tensor | None = None,
    ) -> Tensor:
        """Log p(labels | z) (N,) in nats, with gradient: summed over the labels that are not ignored.

        Args:
            z_NSZ: What the decoder attends to.
            decoder_input_ids_BT: What it reads.
            labels_BT: What it shall predict; -100 is ignored.
            rows_N: The row of the last two that belongs to each latent; default: N = B, one each.
            mask_NS: Nonzero where z is real; None if all is.
        """
        if rows_N is not None:
            decoder_input_ids_BT, labels_BT = decoder_input_ids_BT[rows_N], labels_BT[rows_N]
        if len(z_NSZ) != len(labels_BT):
            raise ValueError(f"There are {len(z_NSZ)} latents and {len(labels_BT)} texts. Say in rows_N which belongs to which.")
        return sequence_log_likelihood(self.decode_logits(decoder_input_ids_BT, (z_NSZ, mask_NS)), labels_BT)

    def hidden_losses(
        self,
        outputs: Mapping[str, Tensor],
        decoder_input_ids_BT: Tensor,
        labels_BT: Tensor,
        batch: Mapping[str, Any] | None = None,
    ) -> dict[str, Tensor]:
        """The hidden losses: ``loss``, their weighted sum, and all terms by name.

        Args:
            outputs: What ``encode`` returned.
            decoder_input_ids_BT: What the decoder reads.
            labels_BT: What it shall predict.
            batch: The batch; losses get it with two functions: ``log_likelihood(z_NSZ, rows_N=None)``, of the batch's texts, and
                ``generate_pairs(z_NSZ)``, see :meth:`generate_pairs`.
        """
        mask_BS = outputs["enc_output_mask"]

        def generate_pairs(z_NSZ: Tensor) -> dict[str, Any]:
            mask_NS = mask_BS if mask_BS.shape == z_NSZ.shape[:2] else None
            return self.generate_pairs(z_NSZ, mask_NS, max_length=labels_BT.shape[1])

        log_likelihood = self._likelihood_of(decoder_input_ids_BT, labels_BT, mask_BS)
        functions = {"log_likelihood": log_likelihood, "generate_pairs": generate_pairs}
        return self.hiddens.apply_loss_transforms(outputs, {**(batch or {}), **functions})

    def generate_pairs(
        self, z_NSZ: Tensor, mask_NS: Tensor | None = None, max_length: int = 128, seed: int | Tensor | None = None
    ) -> dict[str, Any]:
        """Draw x ~ p(x | z) without gradient, and encode it with gradient.

        Args:
            z_NSZ: What the decoder attends to.
            mask_NS: Nonzero where it is real; None if all is.
            max_length: Longest x in tokens; what is longer is cut.
            seed: As of :meth:`generate`.

        Returns:
            The outputs of ``encode`` for x; ``log_p_x_given_z`` (N,) in nats, with gradient; and ``log_likelihood``, a function
            of other latents (M, S, Z) and the rows (M,) of x that belong to them, which gives log p(x | z) (M,).

        Raises:
            ValueError: There is no encoder of the target's modality.
        """
        target = Modalities.get_modality(self.target_modality)
        if target.name not in self.encoders:
            raise ValueError(
                f"What is decoded ({target.name}) cannot be encoded again: there are encoders of {', '.join(self.encoders)}. A "
                f"loss that needs it, as s_mim does, needs an encoder of {target.name}."
            )
        bos_id, pad_id = self._special_id("bos_id"), self._special_id("pad_id")
        labels_NT = labels_of(self.generate(z_NSZ, mask_NS, method="sample", max_length=max_length, seed=seed), self.eos_id)
        text_NL, is_real_NL = encoder_input(labels_NT, bos_id, pad_id)
        outputs = self.encode({target.name: text_NL, target.attention_mask: is_real_NL})
        log_likelihood = self._likelihood_of(shift_right(labels_NT, bos_id, pad_id), labels_NT, mask_NS)
        return {**outputs, "log_p_x_given_z": log_likelihood(z_NSZ), "log_likelihood": log_likelihood}

    def _likelihood_of(self, decoder_input_ids_BT: Tensor, labels_BT: Tensor, mask_BS: Tensor | None) -> Callable[..., Tensor]:
        """:meth:`log_likelihood` as a function of the latents and their rows, which have the positions of the rows' own."""

        def log_likelihood(z_NSZ: Tensor, rows_N: Tensor | None = None) -> Tensor:
            mask_NS = mask_BS if mask_BS is None or rows_N is None else mask_BS[rows_N]
            return self.log_likelihood(z_NSZ, decoder_input_ids_BT, labels_BT, rows_N, mask_NS)

        return log_likelihood

    def generate(
        self,
        z_BSZ: Tensor,
        mask_BS: Tensor | None = None,
        method: str = "greedy",
        max_length: int = 128,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | Tensor | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
    ) -> Tensor:
        """Generate a text for each latent, without gradient and dropout.

        Args:
            z_BSZ: What the decoder attends to.
            mask_BS: Nonzero where it is real; None if all is.
            method: ``"greedy"``; ``"sample"``; or ``"beam"``, which maximises log p(text) / length ** length_penalty.
            max_length: Longest text in tokens, the end included.
            temperature: Of sampling: what the logits are divided by.
            top_k: Of sampling: draw from so many tokens (https://arxiv.org/abs/1805.04833).
            top_p: Of sampling: draw from the fewest tokens whose probabilities add up to so much
                (https://arxiv.org/abs/1904.09751).
            seed: Of sampling: one number, or one a row (B,), see :func:`row_seeds`. A row's text depends on its latent and its
                number alone, not on the rows beside it. None draws the numbers from torch's global generator.
            num_beams: Of beam search: beams of each row; 4 by default.
            length_penalty: Of beam search; 1 by default.

        Returns:
            Token ids (B, T), without ``bos_id``, with ``eos_id`` and then ``pad_id``.

        Raises:
            ValueError: Unknown method, a setting out of its range, or one that the method does not read.
        """
        memory_BSZ, memory_mask_BS = self._memory((z_BSZ, mask_BS))
        with evaluating(self.decoder):
            return generate(
                self.decoder,
                memory_BSZ,
                memory_mask_BS,
                bos_id=self._special_id("bos_id"),
                eos_id=self.eos_id,
                pad_id=self._special_id("pad_id"),
                method=method,
                max_length=max_length,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                num_beams=num_beams,
                length_penalty=length_penalty,
            )

    def _memory(self, outputs: Memory) -> tuple[Tensor, Tensor | None]:
        """What the decoder attends to, in its size and precision, and the mask."""
        if isinstance(outputs, Tensor):
            outputs = (outputs, None)
        z_BSZ, mask_BS = (outputs["enc_output"], outputs["enc_output_mask"]) if isinstance(outputs, Mapping) else outputs
        z_BSZ = z_BSZ.to(precision_of(self.decoder))
        z_BSZ = z_BSZ if self.memory_projection is None else self.memory_projection(z_BSZ)
        check_memory_size(z_BSZ.shape[-1], self.decoder, "enc_output")
        return z_BSZ, mask_BS

    def _special_id(self, name: str) -> int:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"The model has no {name}. Set model.{name}, or take the tokenizer's with use_special_ids.")
        return value
