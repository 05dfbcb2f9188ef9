"""What the routes work with: built once by the composition root, found on the application, replaced in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from redis import Redis

from synfarm.contracts.jobs import Concept
from synfarm.outages import Outages
from synfarm.queue.event_hub import EventHub
from synfarm.queue.flags import FlagBook
from synfarm.queue.keys import Keys
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.api.asks import Asks
from synfarm_caption_api.api.metrics import ApiMetrics
from synfarm_caption_api.api.reading import JobReader
from synfarm_caption_api.api.room import Room
from synfarm_caption_api.caption_report.reporter import CaptionReporter
from synfarm_caption_api.feeder.run import FeederPulse
from synfarm_caption_api.prompts.pools import Pools
from synfarm_caption_api.samples.reader import SampleReader
from synfarm_caption_api.submission import Submitter
from synfarm_caption_api.text_generator import TextGenerator

__all__ = ["ApiServices", "Services"]


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Collaborators of the routes."""

    store: ObjectStore
    redis: Redis
    keys: Keys
    flags: FlagBook
    hub: EventHub
    jobs: JobReader
    samples: SampleReader
    reports: CaptionReporter
    submitter: Submitter
    room: Room
    generator: TextGenerator
    asks: Asks
    pools: Pools
    vocabulary: Sequence[Concept]
    metrics: ApiMetrics
    pulse: FeederPulse | None
    """None where this replica runs no feeder."""
    health_age_seconds: float
    heartbeat_seconds: float
    outages: Outages = field(default_factory=Outages)


def _services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


Services = Annotated[ApiServices, Depends(_services)]
"""Route parameter."""
