"""`--cluster kubernetes` against an API that knows the launcher's rights, and an operator in this process."""

from __future__ import annotations

import http.server
import importlib
import json
import sys
import threading
import urllib.parse

import dask
import jsonschema
import pytest
from support.deploy_kit import DEPLOY, broken_rules, load, pods, validate

from defacedask.cluster import connect
from defacedask.errors import ConfigError, MissingExtraError

SPACE = "defacedask"
VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}


def rights():
    [role] = [m for m in load(DEPLOY / "kubernetes" / "base" / "access.yaml") if m["kind"] == "Role"]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Api(http.server.ThreadingHTTPServer):
    """As much of Kubernetes as is needed, with an operator who starts a Dask cluster in this process."""

    def __init__(self, granted):
        super().__init__(("127.0.0.1", 0), Handler)
        self.granted = granted
        self.used = set()
        self.objects = {}
        self.running = []

    def act(self, manifest):
        """What the operator does about a new DaskCluster."""
        from distributed import LocalCluster

        name = manifest["metadata"]["name"]
        cluster = LocalCluster(
            name=name,  # it tells the scheduler, and clients take it over
            n_workers=manifest["spec"]["worker"]["replicas"],
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            dashboard_address=None,
            silence_logs=50,
        )
        self.running.append(cluster)
        # late enough that the client looks at everything it shows while it waits
        threading.Timer(1.5, manifest.update, [{"status": {"phase": "Running"}}]).start()
        labels = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
        self.objects["pods", f"{name}-scheduler-1"] = {
            "metadata": {"name": f"{name}-scheduler-1", "namespace": SPACE, "labels": labels},
            "spec": {},
            "status": {
                "phase": "Running",
                "conditions": [{"type": kind, "status": "True"} for kind in CONDITIONS],
            },
        }
        port = int(cluster.scheduler.address.rpartition(":")[2])
        service = manifest["spec"]["scheduler"]["service"]
        # the address of a balancer is the only one that leads here without names
        self.objects["services", f"{name}-scheduler"] = {
            "metadata": {"name": f"{name}-scheduler", "namespace": SPACE, "labels": labels},
            "spec": {
                **service,
                "type": "LoadBalancer",
                "ports": [{**p, "port": port} for p in service["ports"]],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
        }

    def close(self):
        for cluster in self.running:
            cluster.close()
        self.shutdown()
        self.server_close()


def listed(version, **kinds):
    resources = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": []}
        for kind, plural in kinds.items()
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


DASK = "kubernetes.dask.org/v1"
#: What everybody who is known may ask.
DISCOVERY = {
    "/version": {"major": "1", "minor": "35", "gitVersion": "v1.35.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "kubernetes.dask.org",
                "versions": [{"groupVersion": DASK, "version": "v1"}],
                "preferredVersion": {"groupVersion": DASK, "version": "v1"},
            }
        ],
    },
    "/api/v1": listed("v1", Pod="pods", Service="services"),
    f"/apis/{DASK}": listed(
        DASK, DaskCluster="daskclusters", DaskWorkerGroup="daskworkergroups", DaskAutoscaler="daskautoscalers"
    ),
}
CONDITIONS = ("Initialized", "Ready", "ContainersReady", "PodScheduled")


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, code, body):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        path = urllib.parse.urlparse(self.path)
        if path.path.rstrip("/") in DISCOVERY:
            return self.answer(200, DISCOVERY[path.path.rstrip("/")])
        query = urllib.parse.parse_qs(path.query)
        api = self.server
        parts = path.path.strip("/").split("/")
        # api/v1/namespaces/SPACE/KIND[/NAME], or apis/GROUP/VERSION/...
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        if rest[:2] != ["namespaces", SPACE] or len(rest) not in (3, 4):
            return self.answer(404, {"message": f"nothing at {self.path}"})
        kind, name = rest[2], rest[3] if len(rest) == 4 else ""
        verb = VERBS.get(self.command, "get" if name else "list")
        api.used.add((group, kind, verb))
        if (group, kind, verb) not in api.granted:
            return self.answer(403, {"message": f"may not {verb} {kind}", "code": 403})
        if verb == "create":
            manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                validate({**manifest, "metadata": {k: v for k, v in manifest["metadata"].items() if v}})
            except jsonschema.ValidationError as error:
                return self.answer(422, {"message": error.message})
            api.objects[kind, manifest["metadata"]["name"]] = manifest
            api.act(manifest)
            return self.answer(201, manifest)
        if name:
            found = api.objects.get((kind, name))
            if found is None:
                return self.answer(404, {"message": f"no {kind} {name}", "code": 404})
            if verb == "delete":
                del api.objects[kind, name]
            return self.answer(200, found)
        fields = dict(f.split("=", 1) for s in query.get("fieldSelector", []) for f in s.split(",") if f)
        labels = dict(f.split("=", 1) for s in query.get("labelSelector", []) for f in s.split(",") if f)
        items = [
            one
            for (own, called), one in api.objects.items()
            if own == kind
            and fields.get("metadata.name", called) == called
            and labels.items() <= one["metadata"].get("labels", {}).items()
        ]
        return self.answer(200, {"kind": "List", "items": items, "metadata": {}})

    do_POST = do_DELETE = do_PATCH = do_GET

    def log_message(self, *rest):
        pass


@pytest.fixture
def api(tmp_path, monkeypatch):
    pytest.importorskip("dask_kubernetes", reason="dask-kubernetes is not installed")
    server = Api(rights())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": SPACE}}
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [context],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
    }
    (tmp_path / "config").write_text(json.dumps(settings))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with dask.config.set({"defacedask.kubernetes.options": {"quiet": True, "resource_timeout": 20}}):
        yield server
    server.close()


@pytest.mark.slow
def test_a_cluster_is_asked_for_used_and_deleted_with_no_more_rights_than_are_needed(api):
    with connect("kubernetes", 2) as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
        assert len(client.scheduler_info()["workers"]) == 2
        asked = api.objects["daskclusters", "defacedask-run"]
        assert [broken_rules(pod) for pod in pods(asked)] == [[], []]
    assert ("daskclusters", "defacedask-run") not in api.objects
    assert api.used <= api.granted
    # the log of the scheduler is read only when it does not come up
    assert api.granted - api.used <= {("", "pods/log", "get")}


def test_a_cluster_that_is_there_is_somebody_elses(api):
    api.objects["daskclusters", "defacedask-run"] = {
        "metadata": {"name": "defacedask-run", "namespace": SPACE}
    }
    with pytest.raises(ConfigError, match="already exists") as kept, connect("kubernetes"):
        pass
    assert kept.value.__cause__ is not None
    # dask-kubernetes does this at the end of the process
    importlib.import_module("dask_kubernetes.operator.kubecluster.kubecluster").reap_clusters()
    assert ("daskclusters", "defacedask-run") in api.objects


def test_without_rights_or_without_the_part_it_is_one_sentence(api, monkeypatch):
    api.granted = set()
    with pytest.raises(ConfigError, match="no Dask cluster came up on Kubernetes"), connect("kubernetes"):
        pass
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator.kubecluster.kubecluster", None)
    with pytest.raises(MissingExtraError, match="Kubernetes part is not installed"), connect("kubernetes"):
        pass


def test_the_operators_api_refuses_what_does_not_fit(api):
    api.objects.clear()
    with (
        dask.config.set({"defacedask.kubernetes.resources": {"limits": {"memory": ["4Gi"]}}}),
        dask.config.set({"defacedask.kubernetes.claim": 7}),
        pytest.raises(ConfigError, match="no Dask cluster came up"),
        connect("kubernetes"),
    ):
        pass
    assert not api.objects
