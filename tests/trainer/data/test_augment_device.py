"""The device form of the augmentation against the reference form, on pictures with structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from synfarm.contracts.jobs import RenderSettings
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.renderer import ImageRequest
from synfarm_trainer.config import AugmentConfig
from synfarm_trainer.data.augment import CropParams, apply_crop, draw_params, local_augment
from synfarm_trainer.data.augment.colours import shift_hue
from synfarm_trainer.data.augment.device import apply_crops, cut, tabulate
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.presets import resolve

SIDE, EACH = 96, 8
FAMILIES = ("synclr-release", "paper", "stablerep", "stablerep-weak", "dinov2")
PLAIN: dict[str, object] = {
    "scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip": 0.0,
    "jitter": 0.0,
    "gray": 0.0,
    "blur_a": 0.0,
    "blur_b": 0.0,
    "solarize_b": 0.0,
}
"""Nothing but the whole picture."""
CALM: dict[str, object] = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "jitter": 1.0}


def drawn_by_hand() -> list[np.ndarray]:
    """Ramps, checkerboards of one and of eight pixels, stripes, flat saturated colours, curved bands."""
    y, x = np.indices((SIDE, SIDE))
    white, orange = np.array([255, 255, 255]), np.array([255, 120, 30])
    flat = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 200, 200], [128, 127, 128]])
    return [
        np.stack([x * 255 // SIDE, y * 255 // SIDE, 255 - x], -1),
        ((x + y) % 2)[..., None] * white,
        ((x // 8 + y // 8) % 2)[..., None] * orange,
        (x // 3 % 2)[..., None] * white,
        flat[(x // 16 + y // 24) % len(flat)],
        np.stack([(x * 7) % 256, (y * 3) % 256, (x * y) % 256], -1),
    ]


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(8, SIDE, SIDE, 3): those and two collages."""
    captions = ("a dog on a beach", "two red apples on a city street at night")
    collage = CollageRenderer(RenderSettings(size=SIDE))
    renders = collage.render([ImageRequest(caption, seed) for seed, caption in enumerate(captions)])
    return np.stack([*drawn_by_hand(), *(np.asarray(render.pixels) for render in renders)]).astype(np.uint8)


def draw(config: AugmentConfig, count: int, each: int = EACH, seed: int = 3) -> CropParams:
    images = np.arange(count, dtype=np.int64)
    return draw_params(config, seed, 1, CropIds.of(images * 0 + 5, images, images % 4, range(each)))


def reference(pictures: np.ndarray, size: int, params: CropParams) -> np.ndarray:
    each = len(params) // len(pictures)
    return np.stack([apply_crop(Image.fromarray(pictures[n // each]), size, params, n) for n in range(len(params))])


def differences(pictures: np.ndarray, size: int, params: CropParams, device: str = "cpu") -> np.ndarray:
    """|device - reference| in grey levels, (crops, size, size, 3)."""
    found = apply_crops(torch.from_numpy(pictures).to(device), params, size)
    assert (found.dtype, found.shape, found.device.type) == (torch.uint8, (len(params), size, size, 3), device)
    return np.abs(found.cpu().numpy().astype(np.int64) - reference(pictures, size, params))


OPERATIONS: dict[str, dict[str, object]] = {
    "nothing": {},
    "bicubic": {"scale": (0.1, 1.0), "ratio": (0.75, 4 / 3)},
    "bilinear": {"scale": (0.1, 1.0), "ratio": (0.75, 4 / 3), "interpolation": "bilinear"},
    "flip": {"scale": (0.3, 1.0), "flip": 1.0},
    "brightness": {**CALM, "brightness": 0.6},
    "contrast": {**CALM, "contrast": 0.6},
    "saturation": {**CALM, "saturation": 0.6},
    "hue": {**CALM, "hue": 0.5},
    "gray": {"gray": 1.0},
    "gaussian": {"blur_a": 1.0, "blur_b": 1.0},
    "pillow": {"blur_a": 1.0, "blur_b": 1.0, "blur_form": "pillow"},
    "solarize": {"solarize_b": 1.0},
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_where_the_reference_is(pictures: np.ndarray, name: str) -> None:
    config = AugmentConfig(**{**PLAIN, "size": SIDE, **OPERATIONS[name]})
    found = differences(pictures, SIDE, draw(config, len(pictures), 6))
    resized, exact = name in ("bicubic", "bilinear", "flip"), name in ("nothing", "hue", "gray", "solarize")
    assert found.max() <= (0 if exact else 2 if resized else 1)
    assert (found > 0).mean() < 0.001


def test_halves_are_rounded_as_pillow_rounds_them(pictures: np.ndarray) -> None:
    """Resized to a half, bytes meet weights of eighths: one value in many is a half."""
    config = AugmentConfig(**{**PLAIN, "size": SIDE // 2, "interpolation": "bilinear"})
    assert not differences(pictures, SIDE // 2, draw(config, len(pictures), 1)).any()


def test_hue_is_pillows_for_colours_throughout_the_cube() -> None:
    """On the edges of its steps a wrong rounding turns a whole flat by 6 levels."""
    levels = np.arange(0, 256, 5)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, 52, -1, 3)
    for turn in (0, 20, -77):
        hsv = np.array(Image.fromarray(cube[0].astype(np.uint8)).convert("HSV"))
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + turn) % 256
        wanted = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
        planes = torch.from_numpy(cube).permute(0, 3, 1, 2).float()
        found = shift_hue(planes, torch.tensor([float(turn)])).permute(0, 2, 3, 1)
        assert np.array_equal(found[0].numpy(), wanted)


def test_downsample_rounds_less_often_than_the_reference(pictures: np.ndarray) -> None:
    config = AugmentConfig(**{**PLAIN, "size": 64, "scale": (0.3, 1.0), "downsample": 1.0})
    found = differences(pictures, 64, draw(config, len(pictures)))
    assert found.max() <= 8
    assert (found > 1).mean() < 0.005
    assert found.mean() < 0.3


def family_differences(pictures: np.ndarray, name: str, where: str, device: str) -> np.ndarray:
    # More of the paper's Downsample than it has, or hardly a crop here would have any.
    often = {"augment.downsample": 0.3} if name == "paper" else {}
    run = resolve("vit-b16", {"augment.name": name, "augment.size": 64, "local_crops.size": 32, **often})
    config = run.augment if where == "global" else local_augment(run.augment, run.local_crops)
    return differences(pictures, config.size, draw(config, len(pictures)), device)


@pytest.mark.parametrize("where", ["global", "local"])
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_as_a_whole(pictures: np.ndarray, name: str, where: str) -> None:
    found = family_differences(pictures, name, where, "cpu")
    assert found.mean() < 0.25
    assert (found >= 4).mean() < 0.001


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_families_on_a_gpu(pictures: np.ndarray) -> None:
    for name in FAMILIES:
        found = family_differences(pictures, name, "global", "cuda")
        assert found.mean() < 0.25
        assert (found >= 4).mean() < 0.001


def test_pictures_need_not_be_square_and_crops_may_be_smaller_than_the_kernel() -> None:
    pictures = np.stack([picture[:50, :80] for picture in drawn_by_hand()]).astype(np.uint8)
    for form in ("kernel9", "pillow"):
        for size in (4, 24):
            config = AugmentConfig(size=8, downsample=0.5, downsample_sides=(8, 32), blur_b=1.0, blur_form=form)
            assert differences(pictures, size, draw(config, len(pictures))).mean() < 0.3


def test_a_crop_is_the_same_alone_and_in_company(pictures: np.ndarray) -> None:
    params = draw(resolve("vit-b16", {"augment.name": "paper"}).augment, len(pictures), 3)
    table, images = torch.from_numpy(tabulate(params, SIDE, SIDE)), torch.from_numpy(pictures)
    together = cut(images, table, 32, params.filters)
    for n in (0, 7, 23):
        alone = cut(images[n // 3 : n // 3 + 1], table[n : n + 1], 32, params.filters)
        assert (alone[0].int() - together[n].int()).abs().float().mean() < 0.01


def test_nothing_is_drawn_and_autocast_changes_nothing(pictures: np.ndarray) -> None:
    params = draw(resolve("vit-b16").augment, len(pictures), 3)
    images, state = torch.from_numpy(pictures), torch.get_rng_state()
    plain = apply_crops(images, params, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(apply_crops(images, params, 32), plain)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["paper", "stablerep"])
def test_it_is_one_graph_that_other_draws_do_not_change(pictures: np.ndarray, name: str) -> None:
    """Traced without a compiler at the end: what is asked is whether there is one graph, not how fast it is."""
    graphs = []

    def keep(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(cut, fullgraph=True, backend=keep)
    config, images = resolve("vit-b16", {"augment.name": name}).augment, torch.from_numpy(pictures)
    for seed in (1, 2, 3):
        params = draw(config, len(pictures), 2, seed)
        table = torch.from_numpy(tabulate(params, SIDE, SIDE))
        assert torch.equal(compiled(images, table, 32, params.filters), cut(images, table, 32, params.filters))
    torch.compiler.reset()
    assert len(graphs) == 1


def test_what_does_not_fit_together_is_refused(pictures: np.ndarray) -> None:
    params = draw(AugmentConfig(), 8, 1)
    with pytest.raises(ValueError, match="8 crops cannot be shared out among 3 images"):
        apply_crops(torch.from_numpy(pictures[:3]), params, 32)
    with pytest.raises(ValueError, match="images must be"):
        apply_crops(torch.from_numpy(pictures).float(), params, 32)
