"""How blocks are run: as written or compiled, and with their activations kept or computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from synfarm.telemetry import get_logger
from synfarm_trainer.models.crops_pass import Sizes, Through, block_pass

__all__ = ["BlockPasses"]

_log = get_logger(__name__)

_GRAPHS = 64

_Run = Callable[[nn.Module, Tensor, Sizes, Through | None, Through | None], Tensor]
Backend = str | Callable[..., Any]


def _limited(compiled: _Run) -> _Run:
    """The same with torch's limit of graphs raised for as long as it runs; whatever else is compiled keeps its own.

    Beyond torch's 8 it would go on eager without a word. ``torch.compile`` itself takes a limit in new versions alone.
    """
    import torch._dynamo  # slow: only where something is compiled

    config = torch._dynamo.config

    def run(*given: Any) -> Tensor:
        with config.patch(recompile_limit=max(_GRAPHS, config.recompile_limit)):
            return compiled(*given)

    return run


class BlockPasses:
    """Runs one block after another, the same values for every way but for the order of a compiler's sums.

    A compiled graph is proven before it is used: forward and back once, where torch would compile the way back only
    when it is reached and an error could not be answered any more. Whatever goes wrong there, blocks run as they are
    written from then on, and ``failure`` names the error.
    """

    def __init__(self, *, recompute: bool = False, backend: Backend | None = None) -> None:
        """
        Args:
            recompute: keep only what enters a block; the rest is computed again on the way back. Nothing random is
                inside, so there is no state to keep, and gradients are the same bit for bit.
            backend: of ``torch.compile``; None to run blocks as they are written.
        """
        self._recompute = recompute
        self.graphs = 0
        """Compiled so far; what still rises after the first steps are recompilations."""
        self.failure: str | None = None
        self._compiled: _Run | None = None
        if backend is not None:
            self._compiled = _limited(torch.compile(block_pass, backend=self._counted(backend)))

    def __call__(
        self, block: nn.Module, x: Tensor, sizes: Sizes, attention: Through | None, mlp: Through | None
    ) -> Tensor:
        """:func:`~synfarm_trainer.models.crops_pass.block_pass`."""
        given = (block, x, sizes, attention, mlp)
        if self._compiled is not None:
            before = self.graphs
            try:
                found = self._through(self._compiled, *given)
                if self.graphs > before and found.requires_grad:
                    self._prove(self._compiled, *given)
            except torch.OutOfMemoryError:
                raise  # as written it would need as much or more
            except Exception as error:  # noqa: BLE001 - a compiler fails in many ways; as written the pass says what is wrong
                self._give_up(error)
            else:
                return found
        return self._through(block_pass, *given)

    def _through(self, run: _Run, block: nn.Module, x: Tensor, *rest: Any) -> Tensor:
        if not self._recompute or not torch.is_grad_enabled():
            return run(block, x, *rest)
        found: Tensor = checkpoint(run, block, x, *rest, use_reentrant=False, preserve_rng_state=False)
        return found

    def _prove(self, run: _Run, block: nn.Module, x: Tensor, *rest: Any) -> None:
        """Back through a pass of its own: no gradient is kept, and hooks of the real pass see nothing of it."""
        with saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
            entering = x.detach().requires_grad_(x.requires_grad)
            learns = [entering] if x.requires_grad else []
            learns += [parameter for parameter in block.parameters() if parameter.requires_grad]
            torch.autograd.grad(self._through(run, block, entering, *rest).sum(), learns, allow_unused=True)

    def _give_up(self, error: Exception) -> None:
        self._compiled = None
        self.failure = f"{type(error).__name__}: {error}"[:1000]
        _log.warning("compiled_blocks_failed_going_on_eager", error=self.failure, graphs=self.graphs)

    def _counted(self, backend: Backend) -> Callable[..., Any]:
        """The backend, with its graphs counted."""

        def compiled(graph: Any, inputs: Any) -> Any:
            from torch._dynamo.backends.registry import lookup_backend

            made = (lookup_backend(backend) if isinstance(backend, str) else backend)(graph, inputs)
            self.graphs += 1
            return made

        return compiled
