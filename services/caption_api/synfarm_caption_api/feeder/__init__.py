"""The feeder: keeps a window of units in flight, repairs what was lost, and closes jobs. The one repair mechanism.

Order of reading: ``run.py`` (a replica's loop), ``feeder.py`` (one pass), ``active_job.py`` (one job in a pass),
``ledger.py`` (what the store says), ``repair.py`` and ``window.py`` (pure decisions), ``manifest.py`` and ``view.py``.
"""
