"""What of a JobSet the launcher may write: an unknown field, or one of the wrong form, is refused as a server would.

Sources: JobSet: ``api/jobset/v1alpha2/jobset_types.go`` of kubernetes-sigs/jobset. Job and Pod: the API reference of
batch/v1 and core/v1; the rules between fields are those of the servers' validation, named beside each.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# RFC 1123 label: names of objects that become parts of host names (63 characters, jobset_webhook.go).
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
# Values of labels (apimachinery, validation.IsValidLabelValue).
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+([KMGT]i?|m)?$")] | int  # resource.Quantity


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)):
        raise ValueError("must be ordered and unique")  # batch/v1: onExitCodes.values
    return values


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Meta(Part):  # metav1.ObjectMeta
    name: Label | None = None
    labels: dict[str, LabelValue] = {}
    annotations: dict[str, str] = {}


class Network(Part):  # v1alpha2.Network
    enableDNSHostnames: bool
    publishNotReadyAddresses: bool
    subdomain: Label | None = None


class Rule(Part):  # v1alpha2.FailurePolicyRule
    name: Label
    action: Literal["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
    onJobFailureReasons: list[
        Literal[
            "BackoffLimitExceeded",
            "DeadlineExceeded",
            "FailedIndexes",
            "MaxFailedIndexesExceeded",
            "PodFailurePolicy",
        ]
    ]  # jobset_webhook.go, validOnJobFailureReasons


class FailurePolicy(Part):  # v1alpha2.FailurePolicy
    maxRestarts: int = Field(ge=0)
    rules: list[Rule]


class OnExitCodes(Part):  # batch/v1 PodFailurePolicyOnExitCodesRequirement
    containerName: str
    operator: Literal["In", "NotIn"]
    values: Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(min_length=1), AfterValidator(_ascending)]


class OnPodCondition(Part):  # batch/v1 PodFailurePolicyOnPodConditionsPattern
    type: str
    status: Literal["True", "False", "Unknown"]


class PodFailureRule(Part):  # batch/v1 PodFailurePolicyRule
    action: Literal["FailJob", "FailIndex", "Ignore", "Count"]
    onExitCodes: OnExitCodes | None = None
    onPodConditions: list[OnPodCondition] | None = None

    @model_validator(mode="after")
    def _one(self) -> PodFailureRule:
        if (self.onExitCodes is None) == (self.onPodConditions is None):
            raise ValueError("one of onExitCodes and onPodConditions")
        return self


class PodFailurePolicy(Part):
    rules: list[PodFailureRule] = Field(max_length=20)


class EmptyDir(Part):  # core/v1 EmptyDirVolumeSource
    medium: Literal["", "Memory"] = ""
    sizeLimit: Quantity | None = None


class Volume(Part):
    name: Label
    emptyDir: EmptyDir | None = None
    persistentVolumeClaim: dict[str, Any] | None = None


class Mount(Part):
    name: Label
    mountPath: str
    readOnly: bool = False


class Container(Part):  # core/v1 Container
    name: Label
    image: str
    args: list[str]
    env: list[dict[str, Any]] = []
    envFrom: list[dict[Literal["secretRef"], dict[Literal["name"], str]]] = []
    resources: dict[Literal["limits", "requests"], dict[str, Quantity]] = {}
    volumeMounts: list[Mount]
    terminationMessagePolicy: Literal["File", "FallbackToLogsOnError"]
    securityContext: dict[str, Any] = {}


class PodSpec(Part):  # core/v1 PodSpec
    restartPolicy: Literal["Never"]  # batch/v1: podFailurePolicy asks for it
    terminationGracePeriodSeconds: int = Field(ge=1)
    automountServiceAccountToken: bool
    serviceAccountName: Label | None = None
    containers: list[Container] = Field(min_length=1)
    volumes: list[Volume]
    nodeSelector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _mounts(self) -> PodSpec:
        mounted = {mount.name for container in self.containers for mount in container.volumeMounts}
        if not mounted <= {volume.name for volume in self.volumes}:
            raise ValueError("a mount without its volume")  # core/v1 validation
        return self


class PodTemplate(Part):
    metadata: Meta
    spec: PodSpec


class JobSpec(Part):  # batch/v1 JobSpec
    completionMode: Literal["Indexed", "NonIndexed"]
    completions: int = Field(ge=1)
    parallelism: int = Field(ge=1)
    backoffLimit: int = Field(ge=0)
    podReplacementPolicy: Literal["Failed"]  # batch/v1: the only value beside a podFailurePolicy
    podFailurePolicy: PodFailurePolicy
    template: PodTemplate

    @model_validator(mode="after")
    def _known_containers(self) -> JobSpec:
        names = {container.name for container in self.template.spec.containers}
        for rule in self.podFailurePolicy.rules:
            if rule.onExitCodes is not None and rule.onExitCodes.containerName not in names:
                raise ValueError("a rule of a container that is not there")  # batch/v1 validation
        return self


class JobTemplate(Part):
    spec: JobSpec


class ReplicatedJob(Part):  # v1alpha2.ReplicatedJob
    name: Label
    replicas: int = Field(ge=1)
    template: JobTemplate


class JobSetSpec(Part):  # v1alpha2.JobSetSpec
    network: Network
    failurePolicy: FailurePolicy
    replicatedJobs: list[ReplicatedJob] = Field(min_length=1)
    suspend: bool = False


class JobSet(Part):
    apiVersion: Literal["jobset.x-k8s.io/v1alpha2"]
    kind: Literal["JobSet"]
    metadata: Meta
    spec: JobSetSpec

    @model_validator(mode="after")
    def _host_names_fit(self) -> JobSet:
        for group in self.spec.replicatedJobs:
            # jobset_webhook.go: <jobset>-<group>-<job index>-<pod index>, and five more characters of a pod's name.
            last = f"{self.metadata.name}-{group.name}-{group.replicas - 1}-{group.template.spec.completions - 1}"
            if len(last) > 63 - 6:
                raise ValueError(f"host name {last} is too long")
        return self
