"""Requests to the API server, and what its refusals mean for whoever asked."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.launch.protocol import LauncherAway

__all__ = ["Conflict", "Connection", "Missing", "Refused"]

_CURES = {
    401: "the token is refused; look whether SYNFARM_TRAINER_KUBERNETES_TOKEN_FILE is this account's and mounted",
    403: "the service account lacks a right; give it create, get and delete of jobsets and list of pods",
}


class Missing(Exception):
    """404: no such object, or no such kind or namespace."""


class Conflict(Exception):
    """409: there is one of this name, or it has changed meanwhile."""


class Refused(OSError):
    """400 or 422: the object itself is refused, and would be again."""


class Connection:
    """The API server as one namespace. Safe for threads."""

    def __init__(self, settings: KubernetesSettings) -> None:
        """
        Raises:
            ValueError: there is no address, or no namespace; the message names the setting.
        """
        url = settings.url
        if not url:
            host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
            if not host:
                raise ValueError("SYNFARM_TRAINER_KUBERNETES_URL: this is no pod of a cluster; name the API server")
            url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        self._namespace = settings.namespace
        if not self._namespace:
            try:
                self._namespace = settings.namespace_file.read_text().strip()
            except OSError as error:
                raise ValueError("SYNFARM_TRAINER_KUBERNETES_NAMESPACE: name the namespace of the JobSets") from error
        self._token_file = settings.token_file
        trust = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file.exists() else True
        self._client = httpx.Client(base_url=url, verify=trust, timeout=httpx.Timeout(30, connect=5))

    def close(self) -> None:
        self._client.close()

    def create(self, jobset: Mapping[str, Any]) -> dict[str, Any]:
        """
        Raises:
            Conflict: there is one of this name.
            Refused: it is not valid.
            LauncherAway: not known whether it was made, or not now.
        """
        try:
            return self._send("POST", self._jobsets(), json=jobset)
        except Missing as error:
            cure = f"install JobSet, and make the namespace {self._namespace}"
            raise LauncherAway(f"the cluster has no such kind or namespace; {cure}") from error

    def get(self, name: str) -> dict[str, Any]:
        """
        Raises:
            Missing, LauncherAway: there is none; not known.
        """
        return self._send("GET", f"{self._jobsets()}/{name}")

    def delete(self, name: str) -> None:
        """Ask for its end and that of all its pods, each after its grace period.

        Raises:
            Missing, LauncherAway: there is none; not known.
        """
        # Foreground: the object stays until its pods are gone, so that its name is free only then.
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        self._send("DELETE", f"{self._jobsets()}/{name}", json=options)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Of a JobSet.

        Raises:
            LauncherAway: not known.
        """
        selector = {"labelSelector": f"jobset.sigs.k8s.io/jobset-name={name}"}
        try:
            found = self._send("GET", f"/api/v1/namespaces/{self._namespace}/pods", params=selector)
        except Missing as error:
            raise LauncherAway(f"the cluster has no namespace {self._namespace} any more") from error
        items: list[dict[str, Any]] = found.get("items", [])
        return items

    def _jobsets(self) -> str:
        return f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{self._namespace}/jobsets"

    def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            # Sent without a token where there is none, to a proxy that adds its own.
            token = self._token_file.read_text().strip() if self._token_file.exists() else ""
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = self._client.request(method, path, headers=headers, **content)
            body = answer.json()
            if not isinstance(body, dict):
                raise ValueError("no object")
        except (httpx.HTTPError, OSError) as error:
            raise LauncherAway(f"the Kubernetes API does not answer: {error!r}") from error
        except ValueError as error:
            raise LauncherAway(f"what answers for the Kubernetes API sends no JSON object ({method} {path})") from error
        status, message = answer.status_code, str(body.get("message", ""))[:500]
        if status < 300:
            return dict(body)
        if status == 404:
            raise Missing(message)
        if status == 409:
            raise Conflict(message)
        if status in {400, 422}:
            raise Refused(f"the Kubernetes API refuses the object: {message}")
        # 410 (what was asked for is too old), 429 and 5xx pass by themselves; 401 and 403 when someone cures them.
        raise LauncherAway(f"the Kubernetes API answers {status}: {_CURES.get(status, message)}")
