from __future__ import annotations

import copy
import json

import jsonschema
import pytest
from support.deploy_kit import DEPLOY, OVERLAYS, Refused, broken_rules, build, load, name_of, pods, validate

import defacedask
from defacedask.cli import program
from defacedask.cluster.specs import DISK, ONE_THREAD, WORKER_ENVIRONMENT, kubernetes_spec
from defacedask.config import option
from defacedask.devices import offers_gpu, resources_of

KUBERNETES = DEPLOY / "kubernetes"
TLS = ("", "tls")


def overlay(name, tls=""):
    return build(KUBERNETES / "overlays" / name, ("../../tls",) if tls else ())


def one(found, kind, name="defacedask"):
    [match] = [m for m in found if m["kind"] == kind and m["metadata"]["name"] == name]
    return match


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_manifest_fits_its_schema_and_the_restricted_profile(name, tls):
    found = overlay(name, tls)
    for manifest in found:
        validate(manifest)
        for pod in pods(manifest):
            assert broken_rules(pod) == [], name_of(manifest)
    kinds = {manifest["kind"] for manifest in found}
    assert {"DaskCluster", "DaskAutoscaler", "Job", "NetworkPolicy", "Role"} <= kinds
    assert ("PersistentVolumeClaim" in kinds) == (name != "objects")
    assert ("DaskWorkerGroup" in kinds) == (name == "gpu")
    [space] = [m["metadata"]["name"] for m in found if m["kind"] == "Namespace"]
    assert {m["metadata"]["namespace"] for m in found if m["kind"] != "Namespace"} == {space}


def test_one_overlay_needs_no_volume_that_several_nodes_mount():
    found = overlay("objects")
    mounted = [volume for manifest in found for pod in pods(manifest) for volume in pod["volumes"]]
    assert {frozenset(volume) for volume in mounted} == {frozenset({"name", "emptyDir"})}
    [run] = one(found, "Job", "defacedask-study")["spec"]["template"]["spec"]["containers"]
    arguments = program.get_command(None, "study").make_context("study", list(run["args"][2:])).params
    addresses = [*arguments["inputs"], arguments["out"], arguments["work"]]
    assert [str(address).partition("BUCKET")[0] for address in addresses] == ["s3://"] * 3
    # the rest of the pods is that of the others
    other = overlay("cpu")
    [[ours, _], [theirs, _]] = (list(pods(one(some, "DaskCluster"))) for some in (found, other))
    theirs["volumes"].pop()
    theirs["containers"][0]["volumeMounts"].pop()
    # but that cases lie on a worker's own disk, and results of all on that of the run
    assert ours["containers"][0]["resources"]["requests"].pop("ephemeral-storage") == DISK
    assert "ephemeral-storage" in run["resources"]["requests"]
    assert ours == theirs


def test_the_program_asks_for_no_volume_where_there_is_no_claim():
    settings = {**option("kubernetes"), "name": "defacedask", "service-account": "defacedask", "workers": 1}
    asked = kubernetes_spec({**settings, "claim": None}, allowed_failures=option("cluster.allowed-failures"))
    written = copy.deepcopy(one(overlay("objects"), "DaskCluster"))
    del written["metadata"]["namespace"]
    assert asked == written


def test_the_template_of_the_secret_fits_and_holds_nothing():
    [secret] = load(KUBERNETES / "s3-secret.yaml")
    validate(secret)
    assert set(secret["stringData"].values()) == {""}
    assert "data" not in secret
    for manifest in overlay("gpu"):
        assert manifest["kind"] != "Secret"


def put(manifest, path, value):
    found = copy.deepcopy(manifest)
    *way, last = path
    place = found
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return found


WORKER = ("spec", "worker", "spec", "containers", 0)
SCHEDULER = ("spec", "scheduler", "spec")


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("DaskWorkerGroup", (*WORKER, "resources", "limits", "nvidia.com/gpu"), 1),
        ("DaskWorkerGroup", ("spec", "cluster"), None),
        ("DaskWorkerGroup", ("spec", "worker", "replicas"), "1"),
        ("DaskCluster", (*WORKER, "imagePullPolitics"), "IfNotPresent"),
        ("DaskCluster", ("spec", "worker", "spec", "seccompProfile"), {"type": "RuntimeDefault"}),
        ("DaskCluster", ("spec", "scheduler", "service"), None),
        ("DaskCluster", (*SCHEDULER, "containers", 0, "readinessProbe", "httpGet", "port"), 8787),
        ("DaskCluster", (*SCHEDULER, "containers"), None),
        ("DaskCluster", ("spec", "workers"), {}),
        ("DaskCluster", ("metadata", "label"), {}),
        ("DaskCluster", ("spc",), {}),
        ("DaskAutoscaler", ("spec", "maximum"), None),
        ("DaskAutoscaler", ("spec", "maximum"), "8"),
        ("Job", ("spec", "template", "spec", "containers", 0, "securityContext", "seccomp"), {}),
        ("Job", ("spec", "template"), None),
        ("Job", ("spec", "backoffLimit"), "2"),
        ("NetworkPolicy", ("spec", "policyType"), ["Ingress"]),
        ("NetworkPolicy", ("spec", "ingress", 0, "ports", 0, "prot"), "TCP"),
        ("PersistentVolumeClaim", ("spec", "accessMode"), "ReadWriteMany"),
        ("Role", ("rules", 0, "verbs"), None),
        ("RoleBinding", ("roleRef", "name"), None),
        ("ServiceAccount", ("automountServiceAccountToken"), "no"),
    ],
)
def test_what_does_not_fit_is_refused(kind, path, value):
    path = (path,) if isinstance(path, str) else path
    manifest = next(
        m for m in overlay("gpu") if m["kind"] == kind and (kind != "NetworkPolicy" or "ingress" in m["spec"])
    )
    validate(manifest)
    with pytest.raises(jsonschema.ValidationError):
        validate(put(manifest, path, value))


def test_the_gpu_is_a_text():
    group = one(overlay("gpu"), "DaskWorkerGroup", "defacedask-gpu")
    [worker] = group["spec"]["worker"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["args"][-2:] == ["--resources", "GPU=1"]
    assert worker["image"].endswith("-gpu")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("securityContext", "runAsNonRoot"), None),
        (("securityContext", "runAsUser"), 0),
        (("securityContext", "seccompProfile"), None),
        (("automountServiceAccountToken",), True),
        (("hostNetwork",), True),
        (("volumes", 0), {"name": "scratch", "hostPath": {"path": "/"}}),
        (("volumes", 0), {"name": "other", "emptyDir": {}}),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), None),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        (("containers", 0, "securityContext", "readOnlyRootFilesystem"), False),
        (("containers", 0, "image"), "defacedask:latest"),
        (("containers", 0, "image"), "defacedask"),
        (("containers", 0, "imagePullPolicy"), "Always"),
        (("containers", 0, "resources", "limits"), {}),
    ],
)
def test_a_pod_that_breaks_a_rule_is_seen(path, value):
    [pod, _] = pods(one(overlay("cpu"), "DaskCluster"))
    assert broken_rules(pod) == []
    assert broken_rules(put(pod, path, value))


def test_a_key_that_stands_twice_and_an_unknown_part_of_kustomize_are_refused(tmp_path):
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(Refused, match="twice"):
        load(tmp_path / "twice.yaml")
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization\nresource: [x.yaml]\n")
    with pytest.raises(Refused, match="resource"):
        build(tmp_path)


def test_the_manifest_is_what_the_program_asks_for():
    settings = {**option("kubernetes"), "name": "defacedask", "service-account": "defacedask", "workers": 1}
    asked = kubernetes_spec(settings, allowed_failures=option("cluster.allowed-failures"))
    [written] = load(KUBERNETES / "base" / "cluster.yaml")
    del written["metadata"]["namespace"]
    assert written == asked


def test_tags_are_the_version():
    images = {c["image"] for m in overlay("gpu") for pod in pods(m) for c in pod["containers"]}
    assert images == {f"defacedask:{defacedask.__version__}", f"defacedask:{defacedask.__version__}-gpu"}
    assert option("kubernetes.image") == f"defacedask:{defacedask.__version__}"


def test_workers_and_the_run_have_one_thread_each():
    containers = [c for m in overlay("gpu") for pod in pods(m) for c in pod["containers"]]
    for container in containers:
        if container["name"] != "scheduler":
            variables = {v["name"]: v["value"] for v in container["env"]}
            due = WORKER_ENVIRONMENT if container["name"] == "worker" else ONE_THREAD
            assert due.items() <= variables.items()
        if container["name"] == "worker":
            assert container["args"][container["args"].index("--nthreads") + 1] == "1"


# -- the network


def labels_of(found, kind):
    """Labels of the pods of a manifest, with those that the operator adds."""
    if kind == "run":
        return one(found, "Job", "defacedask-study")["spec"]["template"]["metadata"]["labels"]
    part = one(found, "DaskCluster")["spec"][kind]
    return {**part["metadata"]["labels"], "dask.org/cluster-name": "defacedask", "dask.org/component": kind}


def selects(selector, labels):
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    fits = selector.get("matchLabels", {}).items() <= labels.items()
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        fits = fits and labels.get(rule["key"]) in rule["values"]
    return fits


def passes(policies, way, own, other, port):
    """Whether policies let traffic pass one way; `other` are labels of a pod here, of a namespace, or an address."""
    mine = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], own)]
    mine = [spec for spec in mine if way.capitalize() in spec["policyTypes"]]
    assert mine, "no policy: everything would pass"
    for spec in mine:
        for rule in spec.get(way, []):
            ports = rule.get("ports")
            fits = ports is None or any(p["port"] == port and p["protocol"] == "TCP" for p in ports)
            if fits and any(is_peer(peer, other) for peer in rule["from" if way == "ingress" else "to"]):
                return True
    return False


def is_peer(peer, other):
    if isinstance(other, str):
        return peer.get("ipBlock", {}).get("cidr") == f"{other}/32"
    if "namespace" in other:
        return "namespaceSelector" in peer and selects(
            peer["namespaceSelector"], {"kubernetes.io/metadata.name": other["namespace"]}
        )
    return set(peer) == {"podSelector"} and selects(peer["podSelector"], other)


def may_speak(found, source, target, port):
    policies = [m for m in found if m["kind"] == "NetworkPolicy"]
    source, target = (labels_of(found, end) if isinstance(end, str) else end for end in (source, target))
    return passes(policies, "egress", source, target, port) and passes(
        policies, "ingress", target, source, port
    )


STRANGER = {"app": "stranger"}


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        ("run", "scheduler", 8786, True),
        ("worker", "scheduler", 8786, True),
        ("scheduler", "worker", 41234, True),
        ("worker", "worker", 41234, True),
        ("run", "scheduler", 8787, False),
        ("worker", "scheduler", 8787, False),
        ("run", "worker", 41234, False),
        ("scheduler", "run", 41234, False),
        (STRANGER, "scheduler", 8786, False),
        (STRANGER, "worker", 41234, False),
        ("worker", STRANGER, 80, False),
    ],
)
def test_who_may_speak_to_whom(source, target, port, expected):
    assert may_speak(overlay("cpu"), source, target, port) is expected


def test_who_gets_out_and_who_gets_in():
    found = overlay("cpu")
    policies = [m for m in found if m["kind"] == "NetworkPolicy"]
    for kind in ("worker", "run"):
        own = labels_of(found, kind)
        assert passes(policies, "egress", own, "192.0.2.1", 443)
        assert not passes(policies, "egress", own, "192.0.2.1", 80)
        assert not passes(policies, "egress", own, "198.51.100.1", 443)
        assert not passes(policies, "egress", own, "192.0.2.2", 6443)  # the API
    scheduler = labels_of(found, "scheduler")
    assert passes(policies, "ingress", scheduler, {"namespace": "dask-operator"}, 8787)
    assert not passes(policies, "ingress", scheduler, {"namespace": "default"}, 8786)
    # no address but the two of documentation, and nothing to everybody
    text = json.dumps(policies)
    assert text.count("cidr") == text.count("192.0.2.") == 2
    assert not any(
        peer == {} for p in policies for rule in p["spec"].get("egress", []) for peer in rule["to"]
    )


def test_only_the_launcher_has_rights_and_no_wide_ones():
    found = overlay("gpu")
    binding = one(found, "RoleBinding", "defacedask-launch")
    assert [s["name"] for s in binding["subjects"]] == ["defacedask-launch"]
    assert {pod["serviceAccountName"] for m in found for pod in pods(m)} == {"defacedask"}
    for rule in one(found, "Role", "defacedask-launch")["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert "secrets" not in rule["resources"]


def test_the_run_with_gpus_asks_for_what_its_workers_offer():
    found = overlay("gpu")
    [container] = next(pod for pod in pods(one(found, "Job", "defacedask-study")))["containers"]
    device = container["args"][container["args"].index("--device") + 1]
    worker = one(found, "DaskWorkerGroup", "defacedask-gpu")["spec"]["worker"]["spec"]["containers"][0]
    offered = worker["args"][worker["args"].index("--resources") + 1]
    assert offered == ",".join(f"{name}={amount:g}" for name, amount in resources_of(device).items())
    offers_gpu("kubernetes", {"worker-resources": offered})
    # the others have no card, and wait for none
    [other] = next(pod for pod in pods(one(overlay("cpu"), "Job", "defacedask-study")))["containers"]
    assert "--device" not in other["args"]
