"""What an encoder's upper layers say of a text beside its vector: the mean and the maximum of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kgdistill.arrays import FloatArray
from kgdistill.models.text.transformer import PooledText
from kgdistill.progress import step

_BATCH = 64


def encode_layers(encoder: PooledText, texts: Sequence[str], layers: int) -> tuple[FloatArray, FloatArray]:
    """The vectors of texts, and the pooled hidden states of the last layers.

    The last layer is turned to the task that the encoder was trained for; what tells classes apart is spread
    over the layers below as well (Tenney et al. 2019).

    Args:
        encoder: with width E.
        texts: any.
        layers: how many of the last are pooled; no more than there are.

    Returns:
        Unit vectors float32 [N, D] as `PooledText.encode` gives them, and float32 [N, 2 layers E]: of each
        layer the mean over the tokens, then the maximum.
    """
    model, width = encoder.serving().eval(), int(encoder.model.config.hidden_size)
    count = min(layers, int(encoder.model.config.num_hidden_layers))
    vectors = np.empty((len(texts), encoder.dim), np.float32)
    pooled = np.empty((len(texts), count, 2, width), np.float32)
    ids = encoder.token_ids(list(texts))
    order = np.argsort([len(x) for x in ids], kind="stable")
    with torch.inference_mode(), step("Encoding texts", total=len(texts)) as work:
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            padded = encoder.pad([ids[i] for i in part])
            mask = padded["attention_mask"]
            hidden = model(**padded, output_hidden_states=True).hidden_states[-count:]
            vectors[part] = encoder.pool(hidden[-1], mask).cpu().numpy()
            there = mask[..., None].float()
            for i, states in enumerate(hidden):
                x = states.float()
                pooled[part, i, 0] = ((x * there).sum(1) / there.sum(1).clamp(min=1)).cpu().numpy()
                least = torch.finfo(x.dtype).min
                pooled[part, i, 1] = x.masked_fill(there == 0, least).amax(1).cpu().numpy()
            work.advance(len(part))
    return vectors, pooled.reshape(len(texts), -1)
