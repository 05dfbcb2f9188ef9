"""The example, broken in one place: which check tells, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Farm = dict[str, Any]
"""Objects by kind and name."""


def spec(farm: Farm, name: str) -> Any:
    return farm[name]["spec"]


def pod(farm: Farm, name: str) -> Any:
    return farm[name]["spec"]["template"]["spec"]


def main(farm: Farm, name: str) -> Any:
    return pod(farm, name)["containers"][0]


def drop(thing: Any, *keys: Any) -> None:
    for key in keys:
        del thing[key]


def variable(container: Any, name: str, value: str) -> None:
    container["env"] = [each for each in container["env"] if each["name"] != name] + [{"name": name, "value": value}]


def replace(farm: Farm, name: str, old: str, new: str) -> None:
    data = farm[name]["data"]
    data.update({key: value.replace(old, new) for key, value in data.items()})


def gpu(container: Any, **amounts: str) -> None:
    for kind, number in amounts.items():
        container["resources"][kind].update({"nvidia.com/gpu": number})


def rule(farm: Farm, policy: str) -> Any:
    return spec(farm, f"NetworkPolicy/{policy}")["ingress"][0]


def to_server(farm: Farm) -> Any:
    return spec(farm, "NetworkPolicy/trainer")["egress"][1]["ports"]


def of_keda(farm: Farm) -> Any:
    return spec(farm, "NetworkPolicy/store")["ingress"][1]["from"][1]["namespaceSelector"]


def scaler(farm: Farm) -> Any:
    return spec(farm, "ScaledObject/render")["triggers"][0]["metadata"]


def quotas(farm: Farm) -> Any:
    return spec(farm, "ClusterQueue/gpus")["resourceGroups"][0]["flavors"][0]["resources"]


def whole(secret: str) -> Any:
    return {"secretRef": {"name": secret}}


def sleep(command: str) -> Any:
    return {"preStop": {"exec": {"command": ["sh", "-c", command]}}}


def budget(farm: Farm, rule: dict[str, Any]) -> None:
    spec(farm, "PodDisruptionBudget/store").pop("maxUnavailable")
    spec(farm, "PodDisruptionBudget/store").update(rule)


def secret() -> Any:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}


def bucket(credential: str) -> Any:
    container = {"name": "b", "image": "caption-api:1", "args": ["python", "-m", "synfarm.storage"]}
    pod = {"restartPolicy": "Never", "containers": [{**container, "envFrom": [whole(credential)]}]}
    return {"kind": "Job", "metadata": {"name": "b"}, "spec": {"template": {"spec": pod}}}


def config(name: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}}


def claim(name: str) -> Any:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def of(app: str) -> Any:
    return {"matchLabels": {"app": app}}


def policy(farm: Farm, name: str, app: str, **rules: Any) -> None:
    spec(farm, f"NetworkPolicy/{name}").update(podSelector=of(app), **rules)


def endpoint(farm: Farm, address: str) -> None:
    farm["ConfigMap/settings"]["data"].update(SYNFARM_STORE_ENDPOINT=address)


def from_secret(container: Any, name: str, key: str) -> None:
    container["env"].append({"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})


RENDER, STORE, TRAINER = "Deployment/render", "StatefulSet/store", "StatefulSet/trainer"
POD = "ConfigMap/run-pod"
BROKEN: list[tuple[str, Callable[[Farm], Any], str]] = [
    ("pinned_images", lambda f: main(f, RENDER).update(image="host:5000/render-worker"), "has no tag"),
    ("pinned_images", lambda f: main(f, RENDER).update(image="render-worker:latest"), "another one tomorrow"),
    ("pinned_images", lambda f: variable(main(f, TRAINER), "SYNFARM_TRAINER_KUBERNETES_IMAGE", "t"), "JobSet.*no tag"),
    ("restricted_pods", lambda f: pod(f, RENDER)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
    ("restricted_pods", lambda f: pod(f, RENDER)["securityContext"].update(runAsUser=0), "is root"),
    ("restricted_pods", lambda f: drop(pod(f, RENDER)["securityContext"], "runAsUser"), "runAsUser is not given"),
    ("restricted_pods", lambda f: drop(pod(f, RENDER)["securityContext"], "seccompProfile"), "seccompProfile"),
    ("restricted_pods", lambda f: drop(main(f, RENDER)["securityContext"], "allowPrivilegeEscalation"), "Escalation"),
    ("restricted_pods", lambda f: drop(main(f, RENDER)["securityContext"], "capabilities"), "do not drop ALL"),
    ("restricted_pods", lambda f: main(f, RENDER)["securityContext"]["capabilities"].update(add=["CHOWN"]), "CHOWN"),
    ("restricted_pods", lambda f: main(f, RENDER)["securityContext"].update(privileged=True), "privileged"),
    ("restricted_pods", lambda f: pod(f, RENDER).update(hostNetwork=True), "hostNetwork"),
    ("restricted_pods", lambda f: pod(f, RENDER)["volumes"].append({"name": "h", "hostPath": {}}), "is a hostPath"),
    ("restricted_pods", lambda f: main(f, RENDER)["ports"][0].update(hostPort=80), "hostPort 80"),
    ("restricted_pods", lambda f: replace(f, POD, "runAsNonRoot: true", "runAsNonRoot: false"), "JobSet.*runAsNonRoot"),
    ("read_only_roots", lambda f: drop(main(f, RENDER)["securityContext"], "readOnlyRootFilesystem"), "not true"),
    ("bounded_scratch", lambda f: pod(f, RENDER)["volumes"][0].update(emptyDir={}), "no sizeLimit"),
    ("bounded_scratch", lambda f: drop(pod(f, RENDER)["volumes"][0], "emptyDir"), "no sizeLimit"),
    ("claims_hold", lambda f: drop(f["PersistentVolumeClaim/state"], "spec"), "claim state does not say"),
    (
        "claims_hold",
        lambda f: drop(spec(f, STORE)["volumeClaimTemplates"][0]["spec"], "resources"),
        "how much it wants",
    ),
    ("claims_hold", lambda f: drop(pod(f, STORE)["securityContext"], "fsGroup"), "volume is root's"),
    ("claims_hold", lambda f: pod(f, RENDER)["volumes"].append(claim("state")), "which the old one has; use Recreate"),
    ("volumes_mounted", lambda f: drop(main(f, RENDER)["volumeMounts"], 0), "volume tmp is mounted nowhere"),
    ("writable_places", lambda f: drop(main(f, RENDER)["volumeMounts"], 0), "cannot write to /tmp"),
    ("writable_places", lambda f: drop(main(f, RENDER)["volumeMounts"], 1), r"/var/cache/synfarm \(XDG_CACHE_HOME\)"),
    (
        "writable_places",
        lambda f: main(f, TRAINER)["volumeMounts"][2].update(readOnly=True),
        r"/var/lib/synfarm \(SYNF",
    ),
    (
        "files_are_there",
        lambda f: variable(main(f, TRAINER), "SYNFARM_AUTH_KEYS_FILE", "/etc/k.json"),
        "is on no volume",
    ),
    ("files_are_there", lambda f: variable(main(f, TRAINER), "SYNFARM_AUTH_KEYS_FILE", "/etc/keys/k"), "keys has no k"),
    ("bounded_resources", lambda f: drop(main(f, RENDER), "resources"), "requests no cpu"),
    ("bounded_resources", lambda f: drop(main(f, RENDER)["resources"], "limits"), "no limit of memory"),
    ("bounded_resources", lambda f: main(f, RENDER)["resources"]["requests"].update(cpu="2500m"), "more cpu than"),
    (
        "bounded_resources",
        lambda f: replace(f, POD, "memory: 64Gi}, limits", "memory: 65Gi}, limits"),
        "JobSet.*memory",
    ),
    ("bounded_resources", lambda f: gpu(main(f, RENDER), requests="1"), "another number of nvidia.com/gpu"),
    ("bounded_resources", lambda f: gpu(main(f, RENDER), requests="1", limits="2"), "another number of nvidia.com/gpu"),
    ("probed", lambda f: drop(main(f, RENDER), "startupProbe"), "no startupProbe"),
    ("probed", lambda f: drop(main(f, RENDER)["readinessProbe"], "httpGet"), "readinessProbe: asks nothing"),
    ("probed", lambda f: drop(main(f, RENDER)["livenessProbe"], "timeoutSeconds"), "less than 5 s"),
    ("probed", lambda f: drop(main(f, RENDER), "livenessProbe"), "no livenessProbe"),
    ("probed", lambda f: drop(main(f, STORE), "readinessProbe"), "no readinessProbe"),
    ("probed", lambda f: main(f, RENDER)["livenessProbe"]["httpGet"].update(path="/readyz"), "another service is away"),
    ("probed", lambda f: main(f, RENDER)["readinessProbe"]["httpGet"].update(port="metrics"), "port metrics is none"),
    ("time_to_drain", lambda f: pod(f, RENDER).update(terminationGracePeriodSeconds=29), "29 s .* 25 s of drain"),
    ("time_to_drain", lambda f: variable(main(f, RENDER), "SYNFARM_RENDER_GRACE_SECONDS", "600"), "600 s of drain"),
    ("time_to_drain", lambda f: main(f, RENDER).update(lifecycle=sleep("sleep 20")), "20 s of preStop"),
    ("disruption_budgets", lambda f: drop(f, "PodDisruptionBudget/render"), "has 0"),
    ("disruption_budgets", lambda f: spec(f, "PodDisruptionBudget/store").update(selector={}), "has 2"),
    ("disruption_budgets", lambda f: budget(f, {"minAvailable": 1}), "cannot be drained"),
    ("disruption_budgets", lambda f: budget(f, {}), "says neither"),
    ("spread_out", lambda f: drop(pod(f, RENDER), "topologySpreadConstraints"), "nothing spreads"),
    ("spread_out", lambda f: spec(f, STORE).update(replicas=3), "store: nothing spreads"),
    ("disruption_budgets", lambda f: budget(f, {"maxUnavailable": 0}), "cannot be drained"),
    ("no_secret_values", lambda f: f.update(s=secret()), "Secret/s: holds values"),
    (
        "no_secret_values",
        lambda f: variable(main(f, RENDER), "SYNFARM_STORE_SECRET_KEY", "a"),
        "SECRET_KEY has its value",
    ),
    ("no_secret_values", lambda f: variable(main(f, RENDER), "HF_TOKEN", "a"), "HF_TOKEN has its value"),
    ("no_secret_values", lambda f: f["ConfigMap/settings"]["data"].update(PASSWORD="a"), "PASSWORD has its value"),
    (
        "no_secret_values",
        lambda f: main(f, RENDER).update(args=["--url", "redis://:pw@redis/0"]),
        "password in an addr",
    ),
    ("no_secret_values", lambda f: main(f, STORE).update(args=["server", "--requirepass", "abc"]), "as an option"),
    ("known_settings", lambda f: variable(main(f, RENDER), "SYNFARM_RENDER_GRACE", "5"), "is no setting"),
    ("known_settings", lambda f: variable(main(f, RENDER), "SYNFARM_TRAINER_PORT", "5"), "is no setting of synfarm_r"),
    ("known_settings", lambda f: main(f, STORE).update(env=[{"name": "SYNFARM_A"}]), "an image that is not ours"),
    ("usable_values", lambda f: variable(main(f, RENDER), "SYNFARM_RENDER_GRACE_SECONDS", "soon"), "GRACE_SECONDS: "),
    ("usable_values", lambda f: variable(main(f, RENDER), "SYNFARM_RENDER_DEVICE", "tpu"), "RENDER_DEVICE: "),
    ("settings_given", lambda f: drop(main(f, TRAINER), "envFrom"), "not given SYNFARM_STORE_ENDPOINT"),
    ("settings_given", lambda f: drop(main(f, RENDER)["env"], 1), "not given SYNFARM_REDIS_URL"),
    ("keys_asked_for", lambda f: variable(main(f, TRAINER), "SYNFARM_AUTH", "off"), "SYNFARM_AUTH is off"),
    ("keys_asked_for", lambda f: variable(main(f, TRAINER), "SYNFARM_AUTH_KEYS_FILE", ""), "refuses to listen"),
    ("one_image_of_runs", lambda f: main(f, TRAINER).update(image="trainer:1.1"), "trainer:1.1, and its ranks .*:1.0"),
    ("sound_scripts", lambda f: main(f, STORE).update(command=["sh", "-c"], args=["rm -rf $DATA/*"]), "its script.*SC"),
    ("sound_scripts", lambda f: main(f, STORE).update(lifecycle=sleep("cd /data; sleep 1")), "its script.*SC2164"),
    ("denied_by_default", lambda f: drop(f, "NetworkPolicy/default-deny"), "none denies everything"),
    ("denied_by_default", lambda f: drop(f, "NetworkPolicy/render"), "render: has no NetworkPolicy"),
    ("denied_by_default", lambda f: drop(f, "NetworkPolicy/runs"), "JobSet.* has no NetworkPolicy"),
    ("narrow_policies", lambda f: spec(f, "NetworkPolicy/render").update(egress=[{}]), "its egress is for everybody"),
    ("narrow_policies", lambda f: drop(rule(f, "store"), "from"), "its ingress is for everybody"),
    ("narrow_policies", lambda f: drop(rule(f, "store"), "ports"), "its ingress is for every port"),
    ("narrow_policies", lambda f: spec(f, "NetworkPolicy/render").update(podSelector={}), "more than DNS to every pod"),
    ("apis_reached", lambda f: drop(f, "Service/trainer"), "no Service leads to it"),
    (
        "apis_reached",
        lambda f: spec(f, "NetworkPolicy/trainer").update(ingress=[]),
        "no other namespace in to port 8000",
    ),
    ("policy_ports", lambda f: rule(f, "store")["ports"][0].update(port="http"), "port http, which .*store has not"),
    (
        "one_namespace",
        lambda f: drop(f["Service/store"]["metadata"], "namespace"),
        "Service/store: is in namespace None",
    ),
    ("one_namespace", lambda f: drop(f, "Namespace/farm"), "there are 0"),
    ("one_namespace", lambda f: f["RoleBinding/trainer"]["subjects"][0].update(namespace="default"), "is not in farm"),
    ("restricted_namespace", lambda f: drop(f["Namespace/farm"]["metadata"], "labels"), "does not enforce"),
    ("whole_pods", lambda f: pod(f, RENDER).update(containers=[]), "has no container"),
    ("whole_pods", lambda f: pod(f, RENDER).update(restartPolicy="Never"), "cannot have the restartPolicy Never"),
    ("nothing_twice", lambda f: main(f, RENDER)["env"].append({"name": "SYNFARM_REDIS_URL"}), "_URL is there twice"),
    ("nothing_twice", lambda f: pod(f, RENDER)["volumes"].append({"name": "tmp"}), "volume tmp is there twice"),
    ("own_accounts", lambda f: drop(pod(f, RENDER), "serviceAccountName"), "default account"),
    ("own_accounts", lambda f: pod(f, RENDER).update(automountServiceAccountToken=True), "token is mounted"),
    ("own_accounts", lambda f: pod(f, TRAINER).update(automountServiceAccountToken=False), "token is not mounted"),
    ("service_ports", lambda f: spec(f, "Service/store")["ports"][0].update(targetPort="http"), "which .* has not"),
    ("selectors_match", lambda f: spec(f, RENDER)["selector"]["matchLabels"].update(app="renders"), "its own pods"),
    ("selectors_match", lambda f: spec(f, RENDER)["selector"].update(matchLabels={}), "takes the pods of"),
    ("selectors_match", lambda f: spec(f, STORE).update(serviceName="stores"), "Service stores is not there"),
    ("selectors_match", lambda f: spec(f, "Service/store")["selector"].update(app="stor"), "Service/store: selects no"),
    ("selectors_match", lambda f: policy(f, "names", "nobody"), "NetworkPolicy/names: selects no pod"),
    ("selectors_match", lambda f: spec(f, "ScaledObject/render")["scaleTargetRef"].update(name="renders"), "not there"),
    ("selectors_match", lambda f: spec(f, RENDER).update(replicas=2), "has replicas of its own"),
    (
        "selectors_match",
        lambda f: pod(f, RENDER)["topologySpreadConstraints"][0].update(labelSelector=of("x")),
        "counts",
    ),
    ("named_things_exist", lambda f: drop(f, "ConfigMap/settings"), "ConfigMap settings is not there"),
    ("named_things_exist", lambda f: drop(f["ConfigMap/settings"], "data"), "ConfigMap settings is empty"),
    ("named_things_exist", lambda f: drop(f, "ServiceAccount/run"), "ServiceAccount run is not there"),
    ("named_things_exist", lambda f: drop(f, "Role/trainer"), "Role trainer is not there"),
    ("named_things_exist", lambda f: drop(f, "LocalQueue/training"), "LocalQueue training is not there"),
    ("named_things_exist", lambda f: drop(f, "ClusterQueue/gpus"), "ClusterQueue gpus is not there"),
    ("named_things_exist", lambda f: drop(f, "ResourceFlavor/any"), "ResourceFlavor any is not there"),
    ("named_things_exist", lambda f: spec(f, STORE).update(volumeClaimTemplates=[]), "volume data is not there"),
    ("named_things_exist", lambda f: pod(f, RENDER)["volumes"].append(claim("models")), "Claim models is not there"),
    ("named_things_exist", lambda f: from_secret(main(f, RENDER), "hub", "HF_TOKEN"), "Secret hub .* no page tells"),
    ("named_things_exist", lambda f: from_secret(main(f, RENDER), "redis", "PASSWORD"), "no page puts PASSWORD into"),
    ("own_credentials", lambda f: f.update(j=bucket("store-render")), "shared by Deployment/render and the admin"),
    ("own_credentials", lambda f: main(f, TRAINER)["envFrom"].append(whole("store-render")), "store-render: is shared"),
    ("nothing_is_left_over", lambda f: f.update(c=config("old")), "ConfigMap/old: nothing uses it"),
    ("least_rights", lambda f: f["Role/trainer"]["rules"][0].update(verbs=["*"]), r"may \* jobsets"),
    ("least_rights", lambda f: f["Role/trainer"]["rules"][1].update(resources=["secrets"]), "may list secrets"),
    ("least_rights", lambda f: f["Role/trainer"]["rules"][0].update(verbs=["get"]), "may not create jobsets"),
    ("least_rights", lambda f: f["RoleBinding/trainer"]["subjects"][0].update(name="render"), "gives rights to"),
    ("least_rights", lambda f: f["Role/trainer"].update(kind="ClusterRole"), "beyond the namespace"),
    ("open_where_settings_point", lambda f: drop(spec(f, "NetworkPolicy/render"), "egress"), "egress does not lead"),
    ("open_where_settings_point", lambda f: policy(f, "store", "store", ingress=[]), "does not let it in"),
    ("open_where_settings_point", lambda f: spec(f, "NetworkPolicy/names").update(egress=[]), "may not ask DNS"),
    ("open_where_settings_point", lambda f: drop(f, "Service/store"), "there is no such Service"),
    ("open_where_settings_point", lambda f: spec(f, "Service/store")["ports"][0].update(port=80), "Service has not"),
    ("open_where_settings_point", lambda f: endpoint(f, "s3.example.org:443"), "render: .* where no egress rule leads"),
    (
        "open_where_settings_point",
        lambda f: drop(spec(f, "NetworkPolicy/trainer")["egress"], 1),
        "reach the API server",
    ),
    ("open_where_settings_point", lambda f: drop(to_server(f), 1), "reach the API server"),
    ("runs_meet", lambda f: spec(f, "NetworkPolicy/runs")["ingress"][0].update(ports=[{"port": 29500}]), "port 45678"),
    ("runs_meet", lambda f: drop(spec(f, "NetworkPolicy/store")["ingress"], 1), "JobSet.*does not let it in"),
    ("scalers_reach", lambda f: scaler(f).update(url="http://store:9000/"), "is no Service with its namespace"),
    ("scalers_reach", lambda f: scaler(f).update(url="http://stor.farm.svc:9000/"), "is no Service"),
    ("scalers_reach", lambda f: scaler(f).update(url="http://store.farm.svc:9001/"), "has no port 9001"),
    ("scalers_reach", lambda f: drop(spec(f, "NetworkPolicy/store")["ingress"], 1), "does not let namespace"),
    ("scalers_reach", lambda f: of_keda(f).update(matchLabels={"clients": "true"}), "namespace keda in to port 9000"),
    ("scalers_reach", lambda f: scaler(f).update(format="prometheus", valueLocation='a_b{c="d"}'), "a_b is no metric"),
    ("queues_admit", lambda f: drop(quotas(f), 2), "does not cover nvidia.com/gpu"),
    ("queues_admit", lambda f: quotas(f)[0].update(nominalQuota=15), "has 15 cpu, and .* requests 16"),
    ("scrapes_pass", lambda f: spec(f, "NetworkPolicy/render").update(ingress=[]), "does not let namespace"),
    (
        "monitors_find",
        lambda f: spec(f, "PodMonitor/render")["selector"]["matchLabels"].update(app="x"),
        "selects noth",
    ),
    (
        "monitors_find",
        lambda f: spec(f, "PodMonitor/render")["podMetricsEndpoints"][0].update(port="m"),
        "port m is not",
    ),
]
