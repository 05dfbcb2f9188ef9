"""The HTTP API of jobs and captions: one file a resource, and what they share."""
