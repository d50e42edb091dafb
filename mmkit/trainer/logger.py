"""Loggers: every one of Lightning, each written under the run directory. None needs its package before it is used."""

from mmkit.conf.store import register_table


RUN_DIR = "${hydra:runtime.output_dir}"
LOGGERS = ["CSVLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger"]

register_table("lightning.pytorch.loggers", LOGGERS, group="trainer/logger", save_dir=RUN_DIR)
register_table("lightning.pytorch.loggers", ["CometLogger"], group="trainer/logger")  # writes to a server
