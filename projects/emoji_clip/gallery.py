"""Pictures of what a trained model retrieves: a contact sheet of test queries, and free-text search."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.datasets.core import Modalities
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.hooks import EvaluationHooks


# Shapes: N examples of the gallery, Q queries, D embedding dim.

TILE, MARGIN, CAPTION_WIDTH = 96, 6, 260  # pixels
HIT = (30, 150, 60)
RUN_DIR = "${hydra:runtime.output_dir}"


class Gallery(EvaluationHooks):
    """Collects the embeddings of an evaluation epoch, in the order of its data set, which must be map-style and the only one."""

    def on_evaluation_epoch_start(self, pl_module: TrainingTask) -> None:
        self._images: list[Tensor] = []
        self._texts: list[Tensor] = []
        self._ids: list[Tensor] = []

    def evaluation_step(self, pl_module: TrainingTask, batch: dict[str, Any], batch_idx: int) -> None:
        self._images.append(nn.functional.normalize(batch[Modalities.RGB.embedding].float(), dim=-1))
        self._texts.append(nn.functional.normalize(batch[Modalities.TEXT.embedding].float(), dim=-1))
        self._ids.append(batch[EXAMPLE_IDS_KEY][Modalities.RGB.name])

    def on_evaluation_epoch_end(self, pl_module: TrainingTask) -> None:
        dataset = _raw_dataset(pl_module)
        self.draw(pl_module, dataset, torch.cat(self._images), torch.cat(self._texts), torch.cat(self._ids))

    def draw(self, pl_module: TrainingTask, dataset: Any, images_ND: Tensor, texts_ND: Tensor, ids_N2: Tensor) -> None:
        """Draw what was retrieved, once the epoch is over."""
        raise NotImplementedError


@external_store(group="eval_task", path=f"{RUN_DIR}/retrievals.png")
class RetrievalSheet(Gallery):
    """A contact sheet: a few of the data set's texts, and the images that each finds first; right ones have a green frame.

    Args:
        path: Where the PNG is written.
        num_queries: Number of texts, spread evenly over the data set.
        top_k: Number of images for each.
    """

    def __init__(self, path: str, num_queries: int = 10, top_k: int = 8) -> None:
        super().__init__()
        self.path = path
        self.num_queries = num_queries
        self.top_k = top_k

    def draw(self, pl_module: TrainingTask, dataset: Any, images_ND: Tensor, texts_ND: Tensor, ids_N2: Tensor) -> None:
        distinct = _first_of_each(ids_N2)
        queries = distinct[:: max(len(distinct) // self.num_queries, 1)][: self.num_queries]
        rows = []
        for query in queries:
            found = (images_ND @ texts_ND[query]).topk(min(self.top_k, len(images_ND))).indices.tolist()
            hits = [bool((ids_N2[position] == ids_N2[query]).all()) for position in found]
            rows.append((dataset[query][Modalities.TEXT.name], [_picture(dataset, position) for position in found], hits))
        save_sheet(self.path, rows)


@external_store(group="eval_task", path=f"{RUN_DIR}/search.png")
class FreeTextSearch(Gallery):
    """The images that a text of one's own finds first, written as a picture and printed by name.

    Args:
        query: What to look for; several texts are separated by ``|``.
        path: Where the PNG is written.
        tokenizer: Turns texts into what the model's text encoder reads.
        top_k: Number of images.
    """

    def __init__(self, query: str, path: str, tokenizer: Any, top_k: int = 10) -> None:
        super().__init__()
        self.queries = [text.strip() for text in query.split("|") if text.strip()]
        if not self.queries:
            raise ValueError("query is empty. Give the text to look for: 'query=\"something to drink\"'.")
        self.path = path
        self.tokenizer = tokenizer
        self.top_k = top_k

    def draw(self, pl_module: TrainingTask, dataset: Any, images_ND: Tensor, texts_ND: Tensor, ids_N2: Tensor) -> None:
        queries_QD = self._embed(pl_module)
        rows = []
        for query, embedding_D in zip(self.queries, queries_QD, strict=True):
            scores_N = images_ND @ embedding_D
            found = scores_N.topk(min(self.top_k, len(images_ND))).indices.tolist()
            rows.append((query, [_picture(dataset, position) for position in found], [False] * len(found)))
            print(f"{query}:")
            for position in found:
                print(f"  {scores_N[position]:.3f}  {dataset[position][Modalities.TEXT.name]}")
        save_sheet(self.path, rows)

    def _embed(self, pl_module: TrainingTask) -> Tensor:
        inputs = {name: value.to(pl_module.device) for name, value in self.tokenizer(self.queries).items()}
        return nn.functional.normalize(pl_module.encode(inputs, Modalities.TEXT.name).float(), dim=-1)


def save_sheet(path: str, rows: list[tuple[str, list[Image.Image], list[bool]]]) -> None:
    """Write a contact sheet.

    Args:
        path: Where the PNG is written.
        rows: For each row its text, its pictures, and which of them are framed.
    """
    step = TILE + 2 * MARGIN
    width = CAPTION_WIDTH + step * max(len(pictures) for _, pictures, _ in rows)
    sheet = Image.new("RGB", (width, step * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    for row, (text, pictures, framed) in enumerate(rows):
        draw.multiline_text((MARGIN, row * step + step // 2), _wrapped(text, font), "black", font, anchor="lm")
        for column, (picture, frame) in enumerate(zip(pictures, framed, strict=True)):
            left, top = CAPTION_WIDTH + column * step, row * step
            if frame:
                draw.rectangle((left + 1, top + 1, left + step - 2, top + step - 2), outline=HIT, width=4)
            sheet.paste(picture.resize((TILE, TILE)), (left + MARGIN, top + MARGIN))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _wrapped(text: str, font: Any) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > CAPTION_WIDTH - 2 * MARGIN and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _first_of_each(ids_N2: Tensor) -> list[int]:
    seen: dict[tuple[int, ...], int] = {}
    for position, ids in enumerate(ids_N2.tolist()):
        seen.setdefault(tuple(ids), position)
    return list(seen.values())


def _picture(dataset: Any, position: int) -> Image.Image:
    return Image.fromarray(dataset[position][Modalities.RGB.name].permute(1, 2, 0).numpy())


def _raw_dataset(pl_module: TrainingTask) -> Any:
    trainer = pl_module.trainer
    loader = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    datasets = loader.dataset.datasets  # pyright: ignore
    if len(datasets) != 1:
        raise ValueError(f"The gallery is drawn from one data set, but there are {len(datasets)} in this split.")
    return getattr(datasets[0], "dataset", datasets[0])
