"""The loss of one batch in this process, and of its halves in two processes that gather their candidates."""

from __future__ import annotations

import socket
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.multiprocessing as mp

from gisttools.training.loss import GISTLoss
from gisttools.training.options import LossOptions

WORLD = 2


@dataclass(frozen=True)
class Rows:
    """A batch whose vectors are given: the student's columns (B, D), and what a guide store answers."""

    columns: tuple[torch.Tensor, ...]
    guides: tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
    text_ids: torch.Tensor
    label_ids: torch.Tensor

    def part(self, rank: int) -> Rows:
        """The rows of one of the ranks."""
        size = len(self.text_ids) // WORLD
        own = slice(rank * size, (rank + 1) * size)

        def cut(x):
            return tuple(map(cut, x)) if isinstance(x, tuple) else x if x is None else x[own]

        return Rows(*(cut(getattr(self, field.name)) for field in fields(self)))

    # what a guide store is asked for
    anchor = property(lambda self: self.guides[0])
    positive = property(lambda self: self.guides[1])
    negatives = property(lambda self: self.guides[2])

    def rows(self, row_ids):
        return self


class Vectors(torch.nn.Module):
    """A model whose columns are its parameters."""

    def __init__(self, columns):
        super().__init__()
        self.columns = torch.nn.ParameterList([torch.nn.Parameter(c.detach().clone()) for c in columns])

    def forward(self, features):
        return {"sentence_embedding": self.columns[features["column"]]}


@dataclass(frozen=True)
class Answer:
    """The loss, its gradients for each column, and what the loss's module tells."""

    loss: float
    gradients: list[np.ndarray]
    positives: dict[str, float | None]
    masked: dict[str, float | None]


def alone(rows: Rows, options: LossOptions, gather: bool = False) -> Answer:
    """Forward and backward of all rows in this process."""
    vectors = Vectors(rows.columns)
    loss = GISTLoss(vectors, rows, options, gather_across_devices=gather)
    value = loss([{"column": i} for i in range(len(rows.columns))], torch.zeros(len(rows.text_ids)))
    value.backward()
    gradients = [c.grad.numpy() for c in vectors.parameters()]
    return Answer(value.item(), gradients, loss.positives(), loss.masked_shares())


def on_two_ranks(rows: Rows, options: LossOptions) -> tuple[Answer, list[Answer]]:
    """The rows in two processes, half of them each: averaged as data-parallel training does, and each rank's answer."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = mp.get_context("forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn")
    context.set_forkserver_preload(["sentence_transformers", "gisttools.training.loss"])  # once for both
    queue = context.Queue()
    workers = [context.Process(target=_rank, args=(rank, port, queue, rows, options)) for rank in range(WORLD)]
    for w in workers:
        w.start()
    answers = [answer for _, answer in sorted((queue.get(timeout=120) for _ in workers), key=lambda x: x[0])]
    for w in workers:
        w.join(30)
    both = [np.concatenate(halves) / WORLD for halves in zip(*(a.gradients for a in answers), strict=True)]
    return Answer(sum(a.loss for a in answers) / WORLD, both, {}, {}), answers


def _rank(rank: int, port: int, queue: mp.Queue, rows: Rows, options: LossOptions) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    queue.put((rank, alone(rows.part(rank), options, gather=True)))
    dist.barrier()
    dist.destroy_process_group()
