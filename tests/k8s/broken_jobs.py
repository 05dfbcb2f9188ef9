"""What ends by itself, broken in one place: the checks of pods hold for a Job and for a CronJob as for what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.k8s.changing import Farm, claim, drop, of, pod, policy, rule, spec, variable, whole

JOB, CRON = "Job/make", "CronJob/sweep"


def pod_of(farm: Farm, name: str) -> Any:
    return spec(farm, name)["jobTemplate"]["spec"]["template"]["spec"] if name == CRON else pod(farm, name)


def given(farm: Farm, name: str, setting: str, value: str) -> None:
    main = pod_of(farm, name)["containers"][0]
    main.setdefault("env", [])
    variable(main, setting, value)


def _of_pods(name: str) -> list[tuple[str, Callable[[Farm], Any], str]]:
    """One for each check that asks every pod."""
    app = name.partition("/")[2]

    def main(farm: Farm) -> Any:
        return pod_of(farm, name)["containers"][0]

    def volumes(farm: Farm) -> Any:
        return pod_of(farm, name)["volumes"]

    only = {"from": [{"podSelector": of("render")}]}
    return [
        ("pinned_images", lambda f: main(f).update(image="caption-api:latest"), f"{name}: .* another one tomorrow"),
        ("restricted_pods", lambda f: drop(pod_of(f, name), "securityContext"), f"{name}: .* runAsNonRoot"),
        ("read_only_roots", lambda f: drop(main(f)["securityContext"], "readOnlyRootFilesystem"), f"{name}: .* true"),
        ("bounded_resources", lambda f: drop(main(f)["resources"], "limits"), f"{name}: .* no limit of memory"),
        ("bounded_scratch", lambda f: volumes(f)[0].update(emptyDir={}), f"{name}: .* no sizeLimit"),
        ("volumes_mounted", lambda f: drop(main(f), "volumeMounts"), f"{name}: volume tmp is mounted nowhere"),
        ("writable_places", lambda f: drop(main(f), "volumeMounts"), f"{name}: cannot write to /tmp"),
        ("claims_hold", lambda f: volumes(f).append(claim("state")), f"{name}: has no fsGroup"),
        ("own_accounts", lambda f: drop(pod_of(f, name), "serviceAccountName"), f"{name}: .* default account"),
        ("own_accounts", lambda f: pod_of(f, name).update(automountServiceAccountToken=True), f"{name}: .* is mounted"),
        ("whole_pods", lambda f: drop(pod_of(f, name), "restartPolicy"), f"{name}: a {name.partition('/')[0]} cannot"),
        ("nothing_twice", lambda f: volumes(f).append({"name": "tmp"}), f"{name}: volume tmp is there twice"),
        ("no_secret_values", lambda f: given(f, name, "HF_TOKEN", "a"), f"{name}: .*HF_TOKEN has its value"),
        ("known_settings", lambda f: given(f, name, "SYNFARM_CAPTION_PORT", "1"), f"{name}: .* is no setting"),
        ("usable_values", lambda f: given(f, name, "SYNFARM_STORE_RETRIES", "many"), f"{name}: .*RETRIES: "),
        ("settings_given", lambda f: drop(main(f)["envFrom"], 0), f"{name}: is not given SYNFARM_STORE_ENDPOINT"),
        ("named_things_exist", lambda f: main(f)["envFrom"][1]["secretRef"].update(name="s"), f"{name}: Secret s is"),
        ("own_credentials", lambda f: main(f)["envFrom"][1].update(whole("store-render")), "store-render: is shared"),
        ("denied_by_default", lambda f: drop(f, f"NetworkPolicy/{app}"), f"{name}: has no NetworkPolicy"),
        ("open_where_settings_point", lambda f: policy(f, app, app, egress=[]), f"{name}: .* egress does not lead"),
        ("open_where_settings_point", lambda f: rule(f, "store").update(**only), f"{name}: .* does not let it in"),
    ]


BROKEN_JOBS: list[tuple[str, Callable[[Farm], Any], str]] = [
    *_of_pods(JOB),
    *_of_pods(CRON),
    ("jobs_end", lambda f: drop(spec(f, JOB), "backoffLimit"), f"{JOB}: does not say how often"),
    ("jobs_end", lambda f: drop(spec(f, JOB), "ttlSecondsAfterFinished"), f"{JOB}: stays when it is done"),
    ("jobs_end", lambda f: spec(f, CRON).update(schedule="@daily"), "has not five fields"),
    ("jobs_end", lambda f: drop(spec(f, CRON), "timeZone"), "time zone of whichever"),
    ("jobs_end", lambda f: drop(spec(f, CRON), "concurrencyPolicy"), "while the first still runs"),
    ("jobs_end", lambda f: spec(f, CRON).update(startingDeadlineSeconds=5), "until when a missed time"),
    ("jobs_end", lambda f: drop(spec(f, CRON), "failedJobsHistoryLimit"), "says no failedJobsHistoryLimit"),
    ("jobs_end", lambda f: drop(spec(f, CRON)["jobTemplate"]["spec"], "backoffLimit"), f"{CRON}: does not say how"),
    (
        "jobs_end",
        lambda f: spec(f, CRON)["jobTemplate"]["spec"].update(activeDeadlineSeconds=86_400),
        "keeps the next one from beginning",
    ),
    ("jobs_end", lambda f: f[CRON]["metadata"].update(name="a" * 53), "longer than 52"),
]
