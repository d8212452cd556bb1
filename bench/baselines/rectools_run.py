"""Trains one of RecTools' sequential models; run in RecTools' own environment, never imported.

    python -I rectools_run.py JOB.json

Reads pairs.npz (users, items, times in microseconds) beside the job, trains until the epochs or the time are
used up, and writes after every epoch users-EPOCH.npy and items-EPOCH.npy (float32 vectors by id, zeros where
RecTools has none; a score is their inner product), at the end report.json.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main(job_path: Path) -> None:
    """Trains what the job says."""
    job, where, started = json.loads(job_path.read_text("utf-8")), job_path.parent, time.monotonic()
    import torch
    from pytorch_lightning import Callback, Trainer, seed_everything  # type: ignore[import-not-found]
    from rectools.dataset import Dataset  # type: ignore[import-not-found]
    from rectools.models import SASRecModel  # type: ignore[import-not-found]
    from rectools.models.nn.transformers.ligr import LiGRLayers  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    torch.set_num_threads(job["threads"])
    dataset = Dataset.construct(pairs_of(where / "pairs.npz"))
    done = 0

    class Kept(Callback):  # type: ignore[misc]
        """Keeps each epoch's vectors. RecTools copies its trainer; the copy must still know the model."""

        def __deepcopy__(self, memo: Any) -> Any:
            return self

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            nonlocal done
            done += 1
            users, items = vectors(model, dataset)
            save(where / f"users-{done}.npy", *users, job["users"])
            save(where / f"items-{done}.npy", *items, job["items"])
            module.train()
            trainer.should_stop = time.monotonic() - started > job["budget_seconds"]

    def trainer() -> Any:
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        settings = {"max_epochs": job["epochs"], "min_epochs": 1, "accelerator": "cpu", "devices": 1}
        return Trainer(callbacks=[Kept()], **settings, **dict.fromkeys(off, False))

    seed_everything(job["seed"])
    # What the authors of eSASRec add: other layers, and a softmax over drawn negatives.
    more = {"loss": "sampled_softmax", "n_negatives": 256, "transformer_layers_type": LiGRLayers}
    values = {**(more if job["model"] == "eSASRec" else {"loss": "softmax"}), **job["values"]}
    model = SASRecModel(get_trainer_func=trainer, **values)
    model.fit(dataset)
    report = {
        "epochs": done,
        "seconds": time.monotonic() - started,
        "pairs": len(dataset.interactions.df),
        "parameters": sum(p.numel() for p in model.torch_model.parameters()),
    }
    (where / "report.json").write_text(json.dumps(report), "utf-8")


def pairs_of(path: Path) -> Any:
    """The interactions as RecTools reads them, in the order in which they happened."""
    import pandas as pd
    from rectools import Columns  # type: ignore[import-not-found]

    with np.load(path, allow_pickle=False) as held:
        columns = {Columns.User: held["users"], Columns.Item: held["items"], Columns.Weight: 1.0}
        pairs = pd.DataFrame({**columns, Columns.Datetime: pd.to_datetime(held["times"], unit="us")})
    return pairs.sort_values([Columns.User, Columns.Datetime, Columns.Item], ignore_index=True)


def vectors(model: Any, dataset: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """(ids, vectors) of the users who have something, and of the items that the model knows."""
    prepared = model.data_preparator.transform_dataset_u2i(dataset, dataset.user_id_map.external_ids)
    loader = model.data_preparator.get_dataloader_recommend(prepared, 512)
    users, items = model.lightning_model._get_user_item_embeddings(loader, "cpu")
    known = model.data_preparator.get_known_items_sorted_internal_ids()
    ids = model.data_preparator.item_id_map.convert_to_external(known)
    return (prepared.user_id_map.external_ids, users.numpy()), (ids, items.detach().numpy()[known])


def save(path: Path, ids: Any, rows: Any, count: int) -> None:
    """Rows by our ids."""
    out = np.zeros((count, rows.shape[1]), dtype=np.float32)
    out[np.asarray(ids, dtype=np.int64)] = rows
    np.save(path, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
