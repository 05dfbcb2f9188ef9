"""Redis and the S3 server of one machine: what to run (process specs), and a handle that runs one of them alone.

The supervisor takes the specs. Tests and tools that need just a server take :class:`LocalRedis` and :class:`LocalS3`.
"""

from __future__ import annotations

from synfarm.local.servers.handle import LocalServer, ServerFailed
from synfarm.local.servers.redis_server import LocalRedis, find_redis, redis
from synfarm.local.servers.seaweedfs import LocalS3, S3Ports, find_weed, s3

__all__ = ["LocalRedis", "LocalS3", "LocalServer", "S3Ports", "ServerFailed", "find_redis", "find_weed", "redis", "s3"]
