"""All checks of one build, in one list of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.k8s.manifests import Manifests
from tests.k8s.policies.configured import (
    keys_asked_for,
    known_settings,
    one_image_of_runs,
    settings_given,
    usable_values,
)
from tests.k8s.policies.disruption import disruption_budgets, spread_out
from tests.k8s.policies.ending import jobs_end
from tests.k8s.policies.images import pinned_images
from tests.k8s.policies.machines import disk_asked_for, machines_let_go, off_spot, rollouts_recover
from tests.k8s.policies.network import (
    apis_reached,
    denied_by_default,
    narrow_policies,
    open_where_settings_point,
    policy_ports,
    runs_meet,
    scalers_reach,
    scrapes_pass,
)
from tests.k8s.policies.placed import nothing_twice, one_namespace, restricted_namespace, whole_pods
from tests.k8s.policies.queues import queues_admit
from tests.k8s.policies.references import named_things_exist, nothing_is_left_over, own_accounts, own_credentials
from tests.k8s.policies.restricted import read_only_roots, restricted_pods
from tests.k8s.policies.rights import least_rights
from tests.k8s.policies.running import bounded_resources, probed, time_to_drain
from tests.k8s.policies.scripts import sound_scripts
from tests.k8s.policies.secrets import no_secret_values
from tests.k8s.policies.selectors import monitors_find, selectors_match, service_ports
from tests.k8s.policies.volumes import (
    bounded_scratch,
    claims_hold,
    files_are_there,
    volumes_mounted,
    writable_places,
)

Check = Callable[[Manifests], Iterator[str]]

OF_EACH: list[Check] = [
    *(pinned_images, restricted_pods, read_only_roots, bounded_resources, probed, time_to_drain, sound_scripts),
    *(bounded_scratch, claims_hold, volumes_mounted, writable_places, files_are_there),
    *(disruption_budgets, spread_out, jobs_end, rollouts_recover, machines_let_go, disk_asked_for),
    *(own_accounts, service_ports),
    *(one_namespace, restricted_namespace, whole_pods, nothing_twice),
    *(no_secret_values, known_settings, usable_values, settings_given, keys_asked_for, one_image_of_runs),
    *(denied_by_default, narrow_policies, policy_ports),
]
"""Asked of the base and of each component too."""
OF_A_WHOLE: list[Check] = [
    *(selectors_match, named_things_exist, nothing_is_left_over, own_credentials, least_rights),
    *(open_where_settings_point, apis_reached, runs_meet, scrapes_pass, scalers_reach, monitors_find, queues_admit),
    off_spot,
]
"""Asked of overlays, where everything is there that anything names."""
ALL = [*OF_EACH, *OF_A_WHOLE]

ALLOWED: dict[tuple[str, str], str] = {}
"""(check, beginning of its sentence) to the reason why it may be; one that nothing needs any more is a fault."""


def faults(manifests: Manifests, checks: list[Check]) -> list[str]:
    """What is wrong and not allowed."""
    return [
        f"{check.__name__}: {sentence}"
        for check in checks
        for sentence in check(manifests)
        if not any(name == check.__name__ and sentence.startswith(begin) for name, begin in ALLOWED)
    ]
