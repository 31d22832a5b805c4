"""Several processes that train one model, as ``torchrun`` starts them: each takes its share of a batch's clips.

Gradients are summed before each step, each process's weighted by its clips, so that all take the step that one process
would. The first process alone writes and speaks. An error in one of them ends all: it is raised where it happened, and
the others raise ``EndedElsewhere``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")


class EndedElsewhere(RuntimeError):
    """Another process of this training failed, and says why."""


class Together:
    """One process's place among those of a training; by itself, it is alone.

    Args:
        rank: its number, from 0.
        size: how many there are; with more than one, torch's process group is there.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    def share(self, of: Sequence[T]) -> list[T]:
        """Every ``size``-th of them, from ``rank`` on: together all, none twice."""
        return list(of[self.rank :: self.size])

    def summed(self, value: float) -> float:
        """The sum over the processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)

    def gathered(self, value: Any) -> list[Any]:
        """The value of each process, in their order."""
        values: list[Any] = [None] * self.size
        if self.size == 1:
            return [value]
        distributed.all_gather_object(values, value)
        return values

    def as_the_first(self, tensors: Iterable[Tensor]) -> None:
        """The first process's values, into everyone's tensors."""
        for tensor in tensors if self.size > 1 else ():
            distributed.broadcast(tensor.detach(), 0)

    @torch.no_grad()
    def sum_gradients(self, model: nn.Module) -> None:
        """Every gradient becomes its sum over the processes; one that no process has stays absent."""
        if self.size == 1:
            return
        wanted = [p for p in model.parameters() if p.requires_grad]
        there = torch.tensor([float(p.grad is not None) for p in wanted], device=wanted[0].device)
        flat = torch.cat([there, *((torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in wanted)])
        distributed.all_reduce(flat)
        counts, *sums = torch.split(flat, [len(wanted), *(p.numel() for p in wanted)])
        for p, count, total in zip(wanted, counts.tolist(), sums, strict=True):
            p.grad = total.view_as(p) if count else None

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What is done in here succeeds in all processes, or raises in all of them: the error in the first that failed,
        ``EndedElsewhere`` in the others. Nothing in here may wait for another process."""
        mine: BaseException | None = None
        try:
            yield
        except Exception as error:  # whatever it is, it is raised below
            mine = error
        failed = [rank for rank, went_wrong in enumerate(self.gathered(mine is not None)) if went_wrong]
        if failed and failed[0] != self.rank:
            raise EndedElsewhere from mine
        if mine is not None:
            raise mine

    def raised_by_the_first(self, error: Exception) -> NoReturn:
        """Raises an error that all processes have."""
        raise (error if self.first else EndedElsewhere())


@contextmanager
def torchrun_processes() -> Iterator[Together]:
    """This process among those that ``torchrun`` started, by the environment that it made: gloo between CPUs, NCCL
    between GPUs."""
    gpus = torch.cuda.is_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        yield Together(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
