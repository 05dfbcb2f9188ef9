"""The commands and programs that the report gives its reader, with the ids of this very job and run."""

from __future__ import annotations

from dataclasses import dataclass

from synfarm.contracts.views import RunView, SampleGroup
from synfarm.report.options import Place

__all__ = ["Recipe", "read_shards", "redraw", "use_backbone"]

_AUTH = '-H "Authorization: Bearer $KEY"'


@dataclass(frozen=True, slots=True)
class Recipe:
    """A program to copy, what it does, and what to know of it."""

    title: str
    text: str
    code: str


def redraw(group: SampleGroup) -> Recipe:
    """Draw the first image of a caption again and compare."""
    job, caption = group.caption_id.rpartition("-")[0], group.caption_id
    ending = group.meta.image_format
    if group.meta.renderer == "collage":
        text = (
            "Everything that decides an image stands in its sample's JSON, so that it can be drawn again without the "
            "farm that drew it. The last command says nothing if every byte is the same."
        )
    else:
        text = (
            "Everything that decides an image stands in its sample's JSON. The same weights on the same kind of GPU "
            "give the same picture; on another kind they differ by rounding."
        )
    code = f"""synfarm redraw {caption} 0 -o redrawn.{ending}

# The same in three steps, for a farm elsewhere:
JOB={job} SAMPLE={caption}
curl -s {_AUTH} $API/v1/jobs/$JOB/samples/$SAMPLE > sample.json
python -m synfarm_render_worker.redraw sample.json --image 0 --out redrawn.{ending}
curl -s {_AUTH} $API/v1/jobs/$JOB/images/$SAMPLE/0 | cmp - redrawn.{ending}"""
    return Recipe("Draw an image again", text, code)


_LOCAL_IMPORTS = "import json\nfrom pathlib import Path\n\n"
_LOCAL = """folder = Path({folder!r})
stack, secrets = (json.loads((folder / name).read_text()) for name in ("stack.json", "secrets.json"))
farm = Client(ClientConfig(stack["api_url"], stack["trainer_url"], key=secrets["api_key"]))
store = Minio(stack["store_endpoint"], secrets["s3_access_key"], secrets["s3_secret_key"], secure=False)"""


def read_shards(job: str, place: Place, image_format: str) -> Recipe:
    """Read the images with the ``webdataset`` package."""
    text = (
        "The shards are plain WebDataset tars: <caption id>.<k>.<format> and one <caption id>.json a caption. The API "
        "names those that count; another file in the same folder belongs to no commit. It needs the package webdataset."
    )
    if place.folder:
        text += " While the farm is up, the Python of its installation runs it as it stands."
        imports, opening = _LOCAL_IMPORTS, _LOCAL.format(folder=place.folder)
    else:
        scheme, _, endpoint = (place.endpoint or "http://127.0.0.1:9000").rpartition("://")
        text += (
            " Fill in: SYNFARM_API_URL and SYNFARM_API_KEY say where the API is and who asks, S3_ACCESS_KEY and "
            "S3_SECRET_KEY are the store's keys."
        )
        imports = "import os\n"
        opening = f"""farm = Client()  # SYNFARM_API_URL, SYNFARM_API_KEY
store = Minio({endpoint!r}, os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"], secure={scheme == "https"})"""
    root = f"{place.prefix}/" if place.prefix else ""
    key = f"{root!r} + line.shard.key" if root else "line.shard.key"
    code = f"""{imports}import webdataset as wds
from minio import Minio
from synfarm.sdk import Client{", ClientConfig" if place.folder else ""}

{opening}
with farm:
    page = farm.jobs.shards({job!r}, limit=1000)  # page.next_cursor says if there are more
tars = []
for line in page.items:
    if line.shard:
        tars.append(f"shards/{{line.unit:08d}}.tar")
        store.fget_object({place.bucket!r}, {key}, tars[-1])

for sample in wds.WebDataset(tars, shardshuffle=False).decode("pil"):
    print(sample["json"]["concept"], sample["json"]["caption"], sample["0.{image_format}"].size)"""
    return Recipe("Read the images with webdataset", text, code)


def use_backbone(run: RunView) -> Recipe:
    """Load the exported network with timm."""
    text = (
        "The run has exported its teacher as plain safetensors that timm loads. backbone.json says how images are to "
        "be sized and normalised."
    )
    code = f"""# RUN={run.run}
# curl -s {_AUTH} -O $TRAINER/v1/runs/$RUN/artifacts/backbone.safetensors
# curl -s {_AUTH} -O $TRAINER/v1/runs/$RUN/artifacts/backbone.json
import json
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

about = json.load(open("backbone.json"))
model = VisionTransformer(**about["arguments"])
model.load_state_dict(load_file("backbone.safetensors"))
model.eval()  # model(images) gives the features that k-NN was measured with"""
    return Recipe("Use the network", text, code)
