"""The augmentation of method section 3.2: what is drawn, and two forms of the pixels' work.

Order: downsample, resized crop, flip, colour jitter (its four parts in a drawn order), gray, blur, solarize.
``reference`` works image by image with Pillow and numpy; ``device`` works batches of tensors on any device, is imported
on its own because it loads torch, and tells how near it comes; ``uncut`` is a batch that is still to go through it.
"""

from synfarm_trainer.data.augment.params import CropParams, Filters, draw_params, local_augment
from synfarm_trainer.data.augment.reference import apply_crop

__all__ = ["CropParams", "Filters", "apply_crop", "draw_params", "local_augment"]
