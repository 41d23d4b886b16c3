"""The server's file: the initial model, and afterwards what only the parties can open."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.fl_constant import FLContextKey, WorkspaceConstants
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import (
    ModelLearnable,
    ModelLearnableKey,
    make_model_learnable,
)
from nvflare.app_common.abstract.model_persistor import ModelPersistor

from privfed.errors import ConfigError, DecodeError
from privfed.integrations.nvflare.records import CHECKPOINT, bytes_array, checkpoint_in
from privfed.integrations.spool import read_checkpoint
from psi.storage import read_whole, write_whole

FILE = "checkpoint.privfed"
_MOST_BYTES = 1 << 33


class CheckpointPersistor(ModelPersistor):  # type: ignore[misc]
    """Gives the initial model; keeps checkpoints, `models/checkpoint.privfed` of the job's result.

    Args:
        start: The initial model, as `numpy.savez` writes it, or the checkpoint of a job that is to
            be resumed. A path at the server; a file that is there when the recipe is made goes
            along with the job.
    """

    def __init__(self, start: str) -> None:
        super().__init__()
        self.start = str(start)

    def add_to_fed_job(self, job: Any, ctx: Any, **kwargs: Any) -> str:
        """Take part in a job, with the file, by NVFlare's protocol.

        Returns:
            The component's id.
        """
        path = Path(self.start)
        if path.is_file():
            job.add_file_source(str(path), None, "custom", ctx)
            self.start = path.name
        return str(job.add_component("persistor", self, ctx))

    def load_model(self, fl_ctx: FLContext) -> ModelLearnable:
        """Return the initial model, or the checkpoint, as an array of bytes.

        Raises:
            ConfigError: There is no such file, or it holds something else.
            DecodeError: It is neither.
        """
        app = Path(str(fl_ctx.get_prop(FLContextKey.APP_ROOT)))
        path = app / WorkspaceConstants.CUSTOM_FOLDER_NAME / self.start
        return make_model_learnable(read_start(path), {})

    def save_model(self, model: ModelLearnable, fl_ctx: FLContext) -> None:
        """Keep a checkpoint in the place of the one before.

        Args:
            model: The checkpoint.
            fl_ctx: The job's context.

        Raises:
            ConfigError: It is none: the aggregator does not encrypt.
        """
        checkpoint = checkpoint_in(model[ModelLearnableKey.WEIGHTS])
        if checkpoint is None:
            raise ConfigError("CheckpointPersistor keeps what EncryptedAggregator gives alone")
        root = Path(fl_ctx.get_workspace().get_result_root(fl_ctx.get_job_id()))
        path = root / "models" / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, checkpoint, refusal=ConfigError)
        self.log_info(fl_ctx, f"wrote {path}: the parties' keys open it", fire_event=False)


def read_start(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model's file, or a checkpoint as an array of bytes.

    Raises:
        ConfigError: There is no such file, or one of its arrays is an object.
        DecodeError: It is neither.
    """
    if not path.is_file():
        raise ConfigError(f"there is no {path}: the server needs an initial model, or a checkpoint")
    if zipfile.is_zipfile(path):
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (ValueError, OSError):
            raise ConfigError(f"{path} holds other than arrays of numbers") from None
    data = read_whole(path, most=_MOST_BYTES, refusal=ConfigError) or b""
    try:
        read_checkpoint(data)
    except DecodeError:
        raise DecodeError(f"{path} is neither a model of numpy.savez nor a checkpoint") from None
    return {CHECKPOINT: bytes_array(data)}
