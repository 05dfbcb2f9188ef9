"""Any text-to-image model behind the Renderer protocol: batches, memory, time, faults; the rest is in `diffusion`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import diffusers
import torch
import transformers

from synfarm.contracts.jobs import RenderSettings
from synfarm.queue.unit import UnitFault
from synfarm.telemetry import get_logger
from synfarm_render_worker.diffusion.batching import filled, for_want_of_memory
from synfarm_render_worker.diffusion.compiling import compile_blocks, failed_to_compile, to_eager
from synfarm_render_worker.diffusion.decoding import decode, to_bytes
from synfarm_render_worker.diffusion.denoising import Course, denoise
from synfarm_render_worker.diffusion.loading import LoadedModel
from synfarm_render_worker.diffusion.noise import Noise
from synfarm_render_worker.diffusion.samplers import sampler_of, set_up
from synfarm_render_worker.diffusion.timing import Stopwatch
from synfarm_render_worker.renderer import ImageRequest, RenderedImage, Spent, Step, no_step

__all__ = ["DiffusersRenderer"]

_log = get_logger(__name__)


class DiffusersRenderer:
    """Method section 2: DDIM, guidance, empty negative prompt, no safety checker; drawn at the render size.

    Each image has noise of its own seed, so that neither batch nor neighbours change it (to float rounding). The model
    may be shared with renderers of other settings, one after the other.
    """

    def __init__(
        self,
        settings: RenderSettings,
        model: LoadedModel,
        *,
        batch: int,
        shrunk: Callable[[int], None] = lambda batch: None,
    ) -> None:
        """``shrunk`` is told the batch size after memory did not suffice.

        Raises:
            UnitFault: the settings do not fit the model.
        """
        self._settings, self._model = settings, model
        self._size = settings.render_size or settings.size
        self.batch = batch
        self._shrunk = shrunk
        self._course = Course(settings.steps, self._size, settings.guidance, settings.guidance_until)
        _check_size(settings, model)
        self._scheduler = sampler_of(settings.sampler, model.adapter, model.own_scheduler)
        set_up(model.adapter, self._scheduler, steps=settings.steps, size=self._size)
        self._watch = Stopwatch(model.device)
        self._images = self._steps = 0
        self._versions = _versions(model)

    @property
    def name(self) -> str:
        return "diffusers"

    @property
    def model(self) -> str | None:
        return self._settings.model

    @property
    def revision(self) -> str | None:
        return self._settings.revision

    @property
    def capability(self) -> str:
        return self._settings.capability

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    @property
    def batch_hint(self) -> int:
        return self.batch

    @torch.inference_mode()
    def render(self, requests: Sequence[ImageRequest], step: Step = no_step) -> list[RenderedImage]:
        """
        Raises:
            UnitFault: NaN or infinity in an image, or out of memory with a single image.
        """
        images: list[RenderedImage] = []
        while len(images) < len(requests):
            images += self._batch(requests[len(images) :][: self.batch], step)
        self._images += len(images)
        return images

    def spent(self) -> Spent:
        seconds = self._watch.take()
        spent = Spent(
            images=self._images,
            text=seconds.get("text", 0.0),
            denoise=seconds.get("denoise", 0.0),
            steps=self._steps,
            decode=seconds.get("decode", 0.0),
            truncated=self._model.prompts.take_truncated(),
        )
        self._images = self._steps = 0
        return spent

    def seconds_of(self, batch: int, *, steps: int, step: Step = no_step) -> float:
        """Of one whole batch, reckoned from two calls of few steps; raises what ``render`` would.

        The first call is for whatever is done once: memory that is taken, kernels that are chosen.
        """
        few = self._course
        requests = [ImageRequest(f"warm up {i // 4}", i) for i in range(batch)]
        self._course = Course(min(steps, few.steps), few.size, few.guidance, few.guidance_until)
        try:
            with torch.inference_mode():
                self._draw(requests, step)
                self.spent()
                self._draw(requests, step)
            spent = self.spent()
        finally:
            self._course = few
            self.spent()
        return spent.denoise / max(1, spent.steps) * few.steps + spent.decode + spent.text

    def compile(self, step: Step = no_step) -> None:
        """Compile the model's blocks at this renderer's shapes; if that fails, log it and go on eager for good."""
        interrupted: list[BaseException] = []

        def told() -> None:
            try:
                step()
            except BaseException as error:
                interrupted.append(error)
                raise

        model = self._model
        if not model.compiles:
            return
        if not model.compiled:
            compile_blocks(model.adapter)
            model.compiled = True
        try:
            self.seconds_of(self.batch, steps=2, step=told)
        except Exception as error:
            if interrupted:
                raise
            if for_want_of_memory(error):
                return  # drawing meets it again, and halves the batch
            # Compilers raise anything, and eager draws as well.
            self._give_up_compiling(error)

    def _give_up_compiling(self, error: Exception) -> None:
        _log.warning("compilation_failed", model=self.model, error=f"{type(error).__name__}: {error}"[:2000])
        to_eager(self._model.adapter)
        self._model.compiled = self._model.compiles = False

    def _batch(self, requests: Sequence[ImageRequest], step: Step) -> list[RenderedImage]:
        """The images of one batch; none if it must be tried again, smaller or eager."""
        # Under compile every batch has one shape: a graph of its own for a unit's last images would cost a minute.
        shape = max(len(requests), self.batch) if self._model.compiled else len(requests)
        try:
            return self._draw(filled(requests, shape), step)[: len(requests)]
        except Exception as error:
            if self._model.compiled and failed_to_compile(error):
                self._give_up_compiling(error)
                return []
            if not for_want_of_memory(error):
                raise
            if shape == 1:
                where = "GPU memory" if self._model.device.type == "cuda" else "memory"
                raise UnitFault(
                    f"out of {where} with one image of {self._size} px; submit the job with a smaller render_size"
                ) from error
        # Not inside the handler: the error holds the frames, and these the tensors.
        torch.cuda.empty_cache()
        self.batch = shape // 2
        _log.warning("batch_halved", model=self.model, size=self._size, batch=self.batch)
        self._shrunk(self.batch)
        return []

    def _draw(self, requests: Sequence[ImageRequest], step: Step) -> list[RenderedImage]:
        adapter, course, prompts = self._model.adapter, self._course, self._model.prompts

        def counted() -> None:
            self._steps += 1
            step()

        with self._watch.stage("text"):
            captions = prompts.rows([request.caption for request in requests])
            empty = prompts.empty() if adapter.halves(course.guidance) else None
        noise = Noise([request.seed for request in requests])
        with self._watch.stage("denoise"):
            latents = denoise(
                adapter, self._scheduler, course, captions=captions, empty=empty, noise=noise, step=counted
            )
        with self._watch.stage("decode"):
            pixels, finite = to_bytes(decode(adapter, latents, self._size))
        # The one place where the CPU waits for the GPU.
        arrays, whole = pixels.cpu().numpy(), finite.tolist()
        self._watch.settle()
        for request, is_whole in zip(requests, whole, strict=True):
            if not is_whole:
                raise UnitFault(f"NaN or infinity in the image of seed {request.seed}: {request.caption[:120]!r}")
        return [RenderedImage(array) for array in arrays]


def _check_size(settings: RenderSettings, model: LoadedModel) -> None:
    size, field = (settings.render_size or settings.size), "render.render_size"
    multiple, limit = model.adapter.side_multiple, model.adapter.side_limit
    if size % multiple:
        near = max(multiple, round(size / multiple) * multiple)
        raise UnitFault(
            f"{field}: this model draws sides that are multiples of {multiple} px, not {size}; ask for {near}"
        )
    if limit is not None and size > limit:
        raise UnitFault(f"{field}: this model draws up to {limit} px, not {size}; ask for less")


def _versions(model: LoadedModel) -> dict[str, str]:
    known = {
        "torch": str(torch.__version__),
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    if model.device.type == "cuda":
        known["gpu"] = torch.cuda.get_device_name(model.device)
    return known
