"""Encoders, heads and postprocessors of several modalities as one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmkit.datasets.core import Modalities, Modality


# Shapes: B examples that have the modality, N positions, D embedding dim.


@dataclass
class ModuleKeySpec:
    """Which modules a modality goes through, by their keys in the configuration; None: the modality's own name.

    Args:
        encoder_key: Key of the encoder. Several modalities may share one.
        head_key: Key of the head.
        postprocessor_key: Key of the postprocessor.
    """

    encoder_key: str | None = None
    head_key: str | None = None
    postprocessor_key: str | None = None


class ModuleKeys(NamedTuple):
    """The keys of the modules that a modality goes through; only the encoder's must name one."""

    encoder: str
    head: str
    postprocessor: str


class MultimodalEncoder(nn.Module):
    """Embed any number of modalities: encoder, then head, then postprocessor.

    Args:
        encoders: Encoders by key. Each takes a dict of tensors and returns a sequence whose first item is its output.
        heads: Heads by key; a dict of modules is applied in its order. A modality without a head keeps its encoder's output.
        postprocessors: Postprocessors by key, applied after the heads.
        modality_module_mapping: Modality to keys, where they differ from the modality's name. A modality that shares the
            encoder of another is handed to it under the other's name.

    Raises:
        ValueError: If a key names no module, or a module is used by no modality.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module | Mapping[str, nn.Module]] | None = None,
        postprocessors: Mapping[str, nn.Module | Mapping[str, nn.Module]] | None = None,
        modality_module_mapping: Mapping[str, ModuleKeySpec | Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("There are no encoders. Name one per modality: /modules/encoders@task.encoders.rgb: vit_tiny.")
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict({key: _chain(module) for key, module in (heads or {}).items()})
        self.postprocessors = nn.ModuleDict({key: _chain(module) for key, module in (postprocessors or {}).items()})
        self.module_keys = self._resolve_keys(modality_module_mapping or {})

    def _resolve_keys(self, mapping: Mapping[str, ModuleKeySpec | Mapping[str, str]]) -> dict[str, ModuleKeys]:
        specs = {name: spec if isinstance(spec, ModuleKeySpec) else ModuleKeySpec(**spec) for name, spec in mapping.items()}
        names = dict.fromkeys([*(key for key in self.encoders if Modalities.has_modality(key)), *specs])
        for name in names:
            Modalities.get_modality(name)  # raises for a name that is not registered
        keys = {name: self._keys_of(name, specs.get(name) or ModuleKeySpec()) for name in names}
        self._refuse_unused_modules(keys)
        return keys

    def _keys_of(self, name: str, spec: ModuleKeySpec) -> ModuleKeys:
        for kind, key in (("heads", spec.head_key), ("postprocessors", spec.postprocessor_key)):
            if key is not None:
                _check_key(kind, key, getattr(self, kind))
        _check_key("encoders", spec.encoder_key or name, self.encoders)
        return ModuleKeys(spec.encoder_key or name, spec.head_key or name, spec.postprocessor_key or name)

    def _refuse_unused_modules(self, keys: dict[str, ModuleKeys]) -> None:
        for kind, modules in (("encoder", self.encoders), ("head", self.heads), ("postprocessor", self.postprocessors)):
            used = {getattr(spec, kind) for spec in keys.values()}
            if unused := sorted(set(modules) - used):
                raise ValueError(
                    f"{kind}s.{unused[0]} belongs to no modality: {', '.join(keys) or 'none'} have encoders. Rename the key, add "
                    f"encoders.{unused[0]} (a registered modality), or name it in modality_module_mapping as {kind}_key."
                )

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities that the model embeds."""
        return list(self.module_keys)

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Embed every modality that is there.

        Args:
            inputs: A batch: tensors by modality name, with their masks.

        Returns:
            ``{"<modality>_embedding": (B, D)}`` for the modalities found in ``inputs``.
        """
        present = [Modalities.get_modality(name) for name in self.module_keys if name in inputs]
        return {modality.embedding: self.encode(inputs, modality.name) for modality in present}

    def encode(self, inputs: Mapping[str, Any], modality: str) -> Tensor:
        """Embed one modality.

        Args:
            inputs: Tensors by name; those of ``modality`` are read.
            modality: Name of the modality.

        Returns:
            Embeddings of shape (B, D).
        """
        if modality not in self.module_keys:
            raise ValueError(f"No encoder for the modality {modality!r}. The model embeds: {', '.join(self.module_keys)}.")
        keys = self.module_keys[modality]
        encoder = self.encoders[keys.encoder]
        x_BD = encoder(_under_name_of(encoder, keys.encoder, inputs, Modalities.get_modality(modality)))[0]
        for modules, key in ((self.heads, keys.head), (self.postprocessors, keys.postprocessor)):
            if key in modules:
                x_BD = modules[key](x_BD)
        if x_BD.ndim != 2:
            raise ValueError(
                f"The embedding of {modality!r} has the shape {tuple(x_BD.shape)}; it must be (batch, dim). Set the pooling of "
                f"encoders.{keys.encoder}, or add a pooling layer to heads.{modality}."
            )
        return x_BD


def _chain(module: nn.Module | Mapping[str, nn.Module]) -> nn.Module:
    if isinstance(module, Mapping) and not isinstance(module, nn.Module):
        return nn.Sequential(*module.values())
    return module  # pyright: ignore[reportReturnType]


def _check_key(kind: str, key: str, modules: nn.ModuleDict) -> None:
    if key not in modules:
        raise ValueError(f"There is no {kind}.{key}. Known: {', '.join(modules) or 'none'}. Add it, or name one of these.")


def _under_name_of(
    encoder: nn.Module, encoder_key: str | None, inputs: Mapping[str, Any], modality: Modality
) -> Mapping[str, Any]:
    """Inputs as a shared encoder expects them: ``depth`` and its mask under the names of ``rgb``."""
    expected = getattr(encoder, "modality", encoder_key)
    if expected == modality.name or not isinstance(expected, str) or not Modalities.has_modality(expected):
        return inputs
    target = Modalities.get_modality(expected)
    pairs = [(modality.name, target.name), (modality.mask, target.mask), (modality.attention_mask, target.attention_mask)]
    return {new: inputs[old] for old, new in pairs if old in inputs}
