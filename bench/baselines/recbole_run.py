"""Trains one RecBole model; run by `_recbole` in RecBole's own environment, never imported.

    python -I recbole_run.py JOB.json

Reads the atomic files that the job names, trains until the epochs or the time are used up, and writes
users.npy and items.npy (float32 vectors by id, zeros where RecBole has none; a score is their inner product)
and report.json beside the job.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class OutOfTimeError(Exception):
    """The time for training is used up."""


def main(job_path: Path) -> None:
    """Trains what the job says."""
    job = json.loads(job_path.read_text("utf-8"))
    # RecBole's configuration reads the command line.
    sys.argv = sys.argv[:1]
    import torch
    from recbole.config import Config  # type: ignore[import-not-found]
    from recbole.data import create_dataset  # type: ignore[import-not-found]
    from recbole.data.utils import create_samplers, get_dataloader  # type: ignore[import-not-found]
    from recbole.sampler import KGSampler  # type: ignore[import-not-found]
    from recbole.utils import ModelType, get_model, get_trainer, init_seed  # type: ignore[import-not-found]

    logging.disable(logging.WARNING)
    torch.set_num_threads(job["threads"])
    config = Config(model=job["model"], dataset="data", config_dict=job["config"])
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    built = dataset.build()
    sampler = create_samplers(config, dataset, built)[0]
    extra = []
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        extra.append(KGSampler(dataset, config["train_neg_sample_args"]["distribution"], 1.0))
    loader = get_dataloader(config, "train")(config, built[0], sampler, *extra, shuffle=True)
    init_seed(config["seed"], config["reproducibility"])
    if job["model"] == "KGAT":
        without_dgl(get_model("KGAT"), type(dataset))
    model = get_model(config["model"])(config, loader._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    epochs, losses, seconds = train(trainer, model, loader, job["config"]["epochs"], job["budget_seconds"])

    model.eval()
    with torch.no_grad():
        users, items = vectors(model, job["model"])
    where = job_path.parent
    save(where / "users.npy", dataset, dataset.uid_field, users, job["users"])
    save(where / "items.npy", dataset, dataset.iid_field, items, job["items"])
    report = {
        "epochs": epochs,
        "seconds": seconds,
        "losses": losses,
        "pairs": len(dataset.inter_feat),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (where / "report.json").write_text(json.dumps(report), "utf-8")


def without_dgl(model: Any, dataset: Any) -> None:
    """Makes KGAT's first attention with SciPy; RecBole's code asks for functions that dgl has long dropped.

    It is the sum over relations of their adjacency, each row divided by its sum. From the first epoch on KGAT
    replaces it by the attention that it learns.
    """
    import torch
    from scipy.sparse import coo_matrix, diags

    whole = dataset.ckg_graph

    def ckg_graph(self: Any, form: str = "coo", value_field: str | None = None) -> Any:
        return None if form == "dgl" else whole(self, form, value_field)

    def init_graph(self: Any) -> Any:
        total = coo_matrix(tuple(self.matrix_size))
        for relation in range(1, self.n_relations):
            at = (self.all_rs == relation).nonzero().squeeze(1)
            ends = (self.all_hs[at].numpy(), self.all_ts[at].numpy())
            adjacency = coo_matrix((np.ones(len(at)), ends), shape=tuple(self.matrix_size)).tocsr()
            sums = np.asarray(adjacency.sum(axis=1)).ravel()
            total = total + diags(np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)) @ adjacency
        total = total.tocoo()
        indices = torch.from_numpy(np.stack([total.row, total.col]).astype(np.int64))
        values = torch.from_numpy(total.data.astype(np.float32))
        return torch.sparse_coo_tensor(indices, values, self.matrix_size).coalesce()

    dataset.ckg_graph = ckg_graph
    model.init_graph = init_graph


def train(
    trainer: Any, model: Any, loader: Any, epochs: int, budget: float
) -> tuple[float, list[Any], float]:
    """Epochs done (a last one that ran out of time counts by its share), their losses, the seconds."""
    start, done, steps, losses = time.monotonic(), 0.0, 0, []
    original = model.calculate_loss

    def timed(*batch: Any) -> Any:
        nonlocal steps
        if time.monotonic() - start > budget:
            raise OutOfTimeError
        steps += 1
        return original(*batch)

    model.calculate_loss = timed
    try:
        for epoch in range(epochs):
            steps = 0
            loss = trainer._train_epoch(loader, epoch)
            losses.append([float(part) for part in loss] if isinstance(loss, tuple) else float(loss))
            done += 1
            print(json.dumps({"epoch": epoch + 1, "loss": losses[-1]}), flush=True)
            if time.monotonic() - start > budget:
                break
    except OutOfTimeError:
        done += steps / len(loader)
    return done, losses, time.monotonic() - start


def vectors(model: Any, name: str) -> tuple[Any, Any]:
    """Tensors of users and items, by RecBole's ids, whose inner products are the model's scores."""
    if name == "BPR":
        return model.user_embedding.weight, model.item_embedding.weight
    if name == "CFKG":
        return model.user_embedding.weight + model.relation_embedding.weight[
            -1
        ], model.entity_embedding.weight
    users, items = model()[:2]
    return users, items


def save(path: Path, dataset: Any, field: str, rows: Any, count: int) -> None:
    """Brings rows by RecBole's id into the order of ours; RecBole's id 0 pads."""
    known = [(int(token), at) for at, token in enumerate(dataset.field2id_token[field]) if at]
    out = np.zeros((count, rows.shape[1]), dtype=np.float32)
    ours, theirs = (np.array(part, dtype=np.int64) for part in zip(*known, strict=True))
    out[ours] = rows.detach().numpy()[theirs]
    np.save(path, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
