"""Runs on a Kubernetes cluster: a JobSet for each, made, watched and deleted through the API server."""
