"""Judges of Kubernetes manifests without a cluster: kustomize as far as it is used, strict schemas, rules of pods.

Schemas come from packages of the dev group: the operator's own from dask-kubernetes, Kubernetes' own from
kubernetes-validate. Where one is missing the tests that need it are skipped, and say so.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OVERLAYS = ("kind", "cpu", "gpu", "objects")
#: Oldest and newest Kubernetes that manifests are held against.
KUBERNETES = ("1.29", "1.37")


class Refused(Exception):
    """What a manifest is refused for."""


def load(path: Path) -> list[dict[str, Any]]:
    """All documents of a file; a key given twice is refused, as kubectl does."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), _Strict))


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise Refused(f"a key stands twice: {sorted(keys)}")
        return super().construct_mapping(node, deep)


# -- kustomize: resources, components, and patches of JSON Patch with a target


def build(folder: Path, extra: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What ``kubectl kustomize FOLDER`` prints; components may be given beside those of the file."""
    return _accumulate(folder.resolve(), [], "Kustomization", extra)


def _accumulate(
    folder: Path, found: list[dict[str, Any]], kind: str, extra: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    [settings] = load(folder / "kustomization.yaml")
    unknown = set(settings) - {"apiVersion", "kind", "resources", "components", "patches"}
    if unknown or settings["kind"] != kind:
        raise Refused(f"{folder}: a {settings['kind']} with {sorted(unknown)}, not a {kind}")
    for name in settings.get("resources", []):
        place = folder / name
        found = found + (_accumulate(place.resolve(), [], "Kustomization") if place.is_dir() else load(place))
    names = [name_of(one) for one in found]
    if len(set(names)) < len(names):
        raise Refused(f"{folder}: one of these is there twice: {names}")
    for name in (*settings.get("components", []), *extra):
        found = _accumulate((folder / name).resolve(), found, "Component")
    for patch in settings.get("patches", []):
        found = [_patched(one, patch) for one in found]
    return found


def _patched(one: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if set(patch) != {"target", "patch"} or set(patch["target"]) - {"kind", "name"}:
        raise Refused(f"a patch of another kind: {patch}")
    target = patch["target"]
    if one["kind"] != target["kind"] or one["metadata"]["name"] != target.get(
        "name", one["metadata"]["name"]
    ):
        return one
    return jsonpatch.JsonPatch(yaml.load(patch["patch"], _Strict)).apply(copy.deepcopy(one))


def name_of(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


# -- schemas


def validate(one: dict[str, Any]) -> None:
    """Hold a manifest against its schema; what the schema does not know is refused.

    Raises
    ------
    jsonschema.ValidationError
    """
    if one["apiVersion"].startswith("kubernetes.dask.org/"):
        jsonschema.Draft202012Validator(_operator_schema(one["kind"].lower(), one["apiVersion"])).validate(
            one
        )
        _kubernetes("ObjectMeta", one["metadata"])
        # the operator makes deployments of them, which Kubernetes judges by its own schema
        for pod in pods(one):
            _kubernetes("PodSpec", pod)
        return
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    for version in KUBERNETES:
        kubernetes_validate.validate(one, version, strict=True)


def _kubernetes(kind: str, value: Any) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    prefix = {"ObjectMeta": "apimachinery.pkg.apis.meta.v1", "PodSpec": "api.core.v1"}[kind]
    for version in KUBERNETES:
        place = f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json"
        definitions = _definitions(kubernetes_validate.utils.schema_contents, place, version)
        schema = {**definitions, "$ref": f"#/$defs/io.k8s.{prefix}.{kind}"}
        jsonschema.Draft202012Validator(schema).validate(value)


@functools.cache
def _definitions(read, place: str, version: str) -> dict[str, Any]:
    return {"$defs": _here(read(place, version)["$defs"])}


def _here(schema: Any) -> Any:
    """References into the file itself."""
    if isinstance(schema, dict):
        found = {key: _here(value) for key, value in schema.items()}
        if isinstance(found.get("$ref"), str):
            found["$ref"] = "#" + found["$ref"].partition("#")[2]
        return found
    return [_here(value) for value in schema] if isinstance(schema, list) else schema


@functools.cache
def _operator_schema(kind: str, version: str) -> dict[str, Any]:
    found = importlib.util.find_spec("dask_kubernetes")
    if found is None:
        pytest.skip("dask-kubernetes, which has the operator's schemas, is not installed")
    charts = Path(found.origin).parent / "operator" / "deployment" / "helm"
    [path] = charts.glob(f"*/crds/{kind}.yaml")
    resource = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    group = resource["spec"]["group"]
    [schema] = [
        v["schema"]["openAPIV3Schema"]
        for v in resource["spec"]["versions"]
        if f"{group}/{v['name']}" == version
    ]
    schema = {**schema, "properties": {**schema["properties"]}}
    # Kubernetes itself adds these to every kind
    schema["properties"] |= {
        "apiVersion": {"const": version},
        "kind": {"const": resource["spec"]["names"]["kind"]},
        "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    schema["required"] = [*schema.get("required", []), "apiVersion", "kind", "metadata", "spec"]
    return _closed(schema)


def _closed(schema: Any) -> Any:
    """The same schema, refusing what it does not know, as a server does for `kubectl apply --validate=strict`."""
    if isinstance(schema, list):
        return [_closed(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if not found.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    if found.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    return found


# -- rules of pods


def pods(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Pod specs in a manifest, wherever they are."""
    spec = one.get("spec", {})
    if one["kind"] in ("Job", "Deployment"):
        yield spec["template"]["spec"]
    for part in ("worker", "scheduler"):
        if part in spec:
            yield spec[part]["spec"]
    if one["kind"] == "Pod":
        yield spec


def broken_rules(pod: dict[str, Any]) -> list[str]:
    """Rules of the restricted pod security standard, and some of ours, that a pod breaks."""
    broken = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    volumes = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    broken += [f"volume {v['name']}" for v in pod.get("volumes", []) if not set(v) - {"name"} <= volumes]
    outer = pod.get("securityContext", {})
    if outer.get("sysctls"):
        broken.append("sysctls")
    if pod.get("automountServiceAccountToken") is not False:
        broken.append("a token of the API is mounted")
    for one in (*pod.get("initContainers", []), *pod["containers"]):
        who, own = one["name"], one.get("securityContext", {})
        both = {**outer, **own}
        if own.get("privileged"):
            broken.append(f"{who} is privileged")
        if own.get("allowPrivilegeEscalation") is not False:
            broken.append(f"{who} may escalate")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {
            "NET_BIND_SERVICE"
        }:
            broken.append(f"{who} has capabilities")
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            broken.append(f"{who} may be root")
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            broken.append(f"{who} has no seccomp profile")
        if any("hostPort" in port for port in one.get("ports", [])):
            broken.append(f"{who} takes a port of its node")
        if own.get("readOnlyRootFilesystem") is not True:
            broken.append(f"{who} may write anywhere")
        mounted = {mount["name"] for mount in one.get("volumeMounts", [])}
        if missing := mounted - {volume["name"] for volume in pod.get("volumes", [])}:
            broken.append(f"{who} mounts {sorted(missing)}, which are not there")
        if (
            "memory" not in one.get("resources", {}).get("limits", {})
            or "memory" not in one["resources"]["requests"]
        ):
            broken.append(f"{who} does not say how much memory it takes")
        tag = one["image"].rpartition(":")[2]
        if tag in ("latest", one["image"]) or one.get("imagePullPolicy") != "IfNotPresent":
            broken.append(f"{who} has an image that cannot be loaded into a node: {one['image']}")
        variables = [variable["name"] for variable in one.get("env", [])]
        if len(set(variables)) < len(variables):
            broken.append(f"{who} has a variable twice")
    return broken
