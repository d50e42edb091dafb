"""Files merged one after the other, so that every key that does not fit is told."""

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.default_element import ResultDefault
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from mmkit.cli.preflight.mistakes import Mistake, place_of
from mmkit.cli.preflight.names import closest_key, value_at
from mmkit.cli.preflight.positions import place
from mmkit.cli.preflight.sources import Sources
from mmkit.cli.preflight.types import explained, is_unknown_key
from mmkit.errors import first_line


LIMIT = 50  # mistakes in one file


class Merging:
    """Merges configs on trial, and takes out of them what cannot be merged.

    Args:
        loader: Hydra's loader.
        repository: What it loads from; what is wrong is removed from its loaded configs.
        sources: Where files are.
    """

    def __init__(self, loader: ConfigLoaderImpl, repository: CachingConfigRepository, sources: Sources) -> None:
        self.loader, self.repository, self.sources = loader, repository, sources
        self.mistakes: list[Mistake] = []

    def try_out(self, defaults: Sequence[ResultDefault]) -> list[ResultDefault]:
        """Merge all.

        Returns:
            What Hydra can merge now: all but the configs that have no place where they shall stand.
        """
        cfg, kept = OmegaConf.create({}), []
        for default in defaults:
            for _ in range(LIMIT):
                try:
                    cfg.merge_with(self.loader._load_single_config(default, self.repository).config)
                    kept.append(default)
                    break
                except OmegaConfBaseException as error:
                    if not self._take_out(cfg, default, error):
                        self._leave_out(default, f"{first_line(error)} ({error.full_key})")
                        break
                except (ConfigCompositionException, ValueError) as error:
                    self._leave_out(default, first_line(error))
                    break
        return kept

    def _take_out(self, cfg: DictConfig, default: ResultDefault, error: OmegaConfBaseException) -> bool:
        """Tell a key that does not fit and remove it, or put the right one in its place."""
        result = self.sources.loaded.get(str(default.config_path))
        key, package = error.full_key or "", default.package or ""
        inside = key.removeprefix(f"{package}.") if package else key
        if result is None or not key or value_at(result.config, inside) is None:  # pyright: ignore[reportArgumentType]
            return False
        parent, _, name = inside.rpartition(".")
        container = value_at(result.config, parent) if parent else result.config  # pyright: ignore[reportArgumentType]
        if not isinstance(container, DictConfig):
            return False
        message, meant, better = self._explained(cfg, key, error)
        path = self.sources.file(str(default.config_path))
        where = (path and place(path, inside.split("."))) or str(default.config_path)
        code = "MM203" if is_unknown_key(error) else "MM301"
        self.mistakes.append(Mistake(code, key, message, better or meant, place=where))
        with flag_override(container, ["struct", "readonly"], [False, False]):
            value = container._get_node(name)
            del container[name]
            renamed = meant.rpartition(".")[2]
            if meant and meant.rpartition(".")[0] == key.rpartition(".")[0] and renamed not in container:
                container[renamed] = value
        return True

    def _explained(self, cfg: DictConfig, key: str, error: OmegaConfBaseException) -> tuple[str, str, str]:
        """What is wrong, the key that was meant, and the line to write instead."""
        parent, _, name = key.rpartition(".")
        if not is_unknown_key(error):
            message, better = explained(error, value_at(cfg, key))
            return message, "", "" if better in ("", "list") else f"{name}: {better}"
        meant = closest_key(cfg, key) or ""
        shown = meant.removeprefix(f"{parent}.") if parent else meant
        return f"there is no key {name!r}{f' in {parent}' if parent else ''}.", meant, shown

    def _leave_out(self, default: ResultDefault, why: str) -> None:
        """Tell a config that cannot be merged at all."""
        path = str(default.config_path)
        file = self.sources.file(path)
        self.mistakes.append(Mistake("MM506", path, why, place=place_of(file) if file else ""))
