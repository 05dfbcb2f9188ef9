"""A process that reads shards by way of a node's disk: ``folder bound < shards as JSON lines``; tells its counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from synfarm.contracts.commits import ShardRef
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm_trainer.data.cache.counts import ReadCounts
from synfarm_trainer.data.cache.disk import DiskCache
from synfarm_trainer.data.fetch import ShardCache

if __name__ == "__main__":
    refs = [ShardRef.model_validate_json(line) for line in sys.stdin]
    disk = DiskCache(Path(sys.argv[1]), int(sys.argv[2]), ReadCounts())
    cache = ShardCache(open_store(StoreSettings()), 1 << 30, disk=disk)
    for ref in refs:
        shard = cache.get(ref)
        if not shard.intact or len(shard.data) != ref.size:
            sys.exit(f"{ref.key} is not whole")
    sys.stdout.write(json.dumps(cache.counts.told()))
