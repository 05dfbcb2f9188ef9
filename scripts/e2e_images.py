"""The images of `make e2e-compose`: what ours hold and must not tell, and what stands in for others.

HAProxy's, Prometheus' and Grafana's images are pulled. Where they cannot be, Debian's packages stand in for the first
two; Debian has no Grafana, so that one is left out.
"""

from __future__ import annotations

import contextlib
import json

from e2e_stack import Failed, Stack, run

OURS = ("caption-api", "llm-server", "render-worker", "trainer")
WITH_TORCH = {"llm-server", "trainer"}

_DEBIAN = "FROM python:3.11-slim-bookworm\nRUN apt-get update -q && apt-get install -y -q --no-install-recommends "
STAND_INS: dict[str, str | None] = {
    "proxy": f"""{_DEBIAN}haproxy
USER haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
""",
    # Folder, user and entry point as in prometheus/prometheus' Dockerfile; wget is what compose asks its health by.
    "prometheus": f"""{_DEBIAN}prometheus wget && install --directory --owner=nobody /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
""",
    "grafana": None,
}

# What an image must be: one service's package beside the shared one, a user that is nobody.
LOOK_INSIDE = """
import importlib.util as u, os, pkgutil
names = sorted(m.name for m in pkgutil.iter_modules() if m.name.startswith("synfarm"))
print(" ".join(names), "uid", os.getuid(), "torch" if u.find_spec("torch") else "no torch")
"""


def look_inside(stack: Stack) -> list[str]:
    """Each image's size, and what is in it.

    Raises:
        Failed: another service's package is in it, or it runs as root.
    """
    rows = []
    for image in OURS:
        name = f"synfarm/{image}:{stack.project}"
        inside = run("docker", "run", "--rm", "--read-only", "--network", "none", name, "python", "-c", LOOK_INSIDE)
        package = f"synfarm_{image.replace('-', '_')}"
        torch = "torch" if image in WITH_TORCH else "no torch"
        if inside.strip() != f"synfarm {package} uid 10001 {torch}":
            raise Failed(f"{name} holds: {inside.strip()}")
        size = run("docker", "images", "--format", "{{.Size}}", name).strip()
        rows.append(f"| {image} | {size} | {inside.strip()} |")
    return rows


def no_secret_told(stack: Stack) -> str:
    """That neither the history nor the configuration of our images, nor a log of ours, tells a secret of this run.

    Raises:
        Failed: one does; the message names the place and the secret's name.
    """
    services = ("bucket", "caption-worker", *OURS)
    places = {f"the log of {service}": stack.compose("logs", "--no-color", service) for service in services}
    for image in OURS:
        name = f"synfarm/{image}:{stack.project}"
        places[f"the history of {name}"] = run("docker", "history", "--no-trunc", "--format", "{{json .}}", name)
        places[f"the configuration of {name}"] = run("docker", "image", "inspect", name)
    for place, text in places.items():
        for secret, value in stack.secrets.items():
            if value in text:
                raise Failed(f"{place} tells {secret}")
    return f"none of {len(stack.secrets)} secrets in {len(places)} places"


def stand_ins(stack: Stack) -> str:
    """Pull what is not ours, or give the stack stand-ins for it; what was done, in words."""
    services = json.loads(stack.compose("config", "--format", "json"))["services"]
    swapped: dict[str, str] = {}
    without: set[str] = set()
    notes = []
    for service, dockerfile in STAND_INS.items():
        wanted = services[service]["image"]
        with contextlib.suppress(Failed):
            run("docker", "pull", "--quiet", wanted, timeout=300)
            continue
        if dockerfile is None:
            without.add(service)
            notes.append(f"without {wanted}")
            continue
        swapped[service] = f"synfarm/{service}:{stack.project}"
        run("docker", "build", "--quiet", "--tag", swapped[service], "-", stdin=dockerfile, timeout=900)
        notes.append(f"Debian's {service.replace('proxy', 'haproxy')} in the place of {wanted}")
    stack.swap(swapped, without)
    return "; ".join(notes) or "everything else as it is pinned"


def remove(stack: Stack) -> None:
    """Take the tags of this run away; what the build's cache holds stays."""
    for image in (*OURS, *STAND_INS):
        with contextlib.suppress(Failed):
            run("docker", "image", "rm", f"synfarm/{image}:{stack.project}")
