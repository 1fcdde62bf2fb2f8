from __future__ import annotations

import logging
import pickle
import threading
import time

import numpy as np
import pytest
from support.face_service import KEY, FaceService, refused

from defacedask.errors import ConfigError, InputError
from defacedask.faces.recognition import (
    Box,
    Recogniser,
    RecogniserError,
    azure,
    azure_pictures,
    get_recogniser,
)
from defacedask.faces.recognition.limiter import ClusterLimiter, Limiter, shared_limiter


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FaceService() as running:
        monkeypatch.setenv("AZURE_FACE_ENDPOINT", running.url + "/")
        monkeypatch.setenv("AZURE_FACE_KEY", KEY)
        yield running


@pytest.fixture
def waits(monkeypatch):
    """Waiting is recorded and not done."""
    found: list[float] = []
    monkeypatch.setattr(azure, "_sleep", found.append)
    return found


def portrait(person: int, at: int = 60) -> np.ndarray:
    rng = np.random.default_rng(person)
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[..., 1:] = rng.integers(0, 255, (200, 200, 2))
    picture[at : at + 80, 50:120, 0] = person
    return picture


def client(**options):
    return get_recogniser("azure", allow_upload=True, per_second=500.0, **options)


def test_never_without_the_flag_and_it_says_what_leaves(monkeypatch):
    monkeypatch.setenv("AZURE_FACE_ENDPOINT", "https://somewhere.example")
    with pytest.raises(ConfigError, match=r"patients' faces.*https://somewhere\.example") as caught:
        get_recogniser("azure")
    assert "policy" in caught.value.hint


@pytest.mark.parametrize(
    ("endpoint", "key", "says"),
    [
        ("", KEY, "environment variables"),
        ("https://somewhere.example", "", "environment variables"),
        ("http://somewhere.example", KEY, "https"),
        ("somewhere", KEY, "https"),
    ],
)
def test_endpoint_and_key_come_from_the_environment(monkeypatch, endpoint, key, says):
    monkeypatch.setenv("AZURE_FACE_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_FACE_KEY", key)
    with pytest.raises(ConfigError, match=says):
        client().detect(portrait(200))


def test_detect_and_verify(service):
    recogniser = client()
    assert isinstance(recogniser, Recogniser)
    assert recogniser.remote
    mine, again, other, none = (
        found[0] if found else None
        for found in recogniser.analyse([portrait(200), portrait(200, at=20), portrait(120), portrait(0)])
    )
    assert none is None
    assert mine.box == Box(60, 120, 140, 50)
    assert recogniser.distance(mine.encoding, again.encoding) == pytest.approx(0.07)
    assert recogniser.distance(mine.encoding, other.encoding) == pytest.approx(0.92)
    assert recogniser.distance(mine.encoding, again.encoding) < recogniser.tolerance < 0.92
    assert np.isnan(recogniser.distance(mine.encoding, None))
    first = service.requests[0]
    assert first["path"] == "/face/v1.2/detect"
    assert first["query"] == {
        "detectionModel": "detection_03",
        "recognitionModel": "recognition_04",
        "returnFaceId": "true",
        "faceIdTimeToLive": "86400",
    }


def test_key_is_in_no_object(service):
    recogniser = client()
    recogniser.detect(portrait(200))
    assert KEY not in repr(recogniser)
    assert KEY.encode() not in pickle.dumps(recogniser)
    assert all(KEY not in r["path"] and KEY not in str(r["query"]) for r in service.requests)


def test_given_boxes_are_cut_out(service):
    picture = portrait(200)
    picture[:8, 150:, 0] = 250  # someone else in the corner
    codes = client().encode(picture, [Box(60, 120, 140, 50), Box(160, 30, 190, 5)])
    assert service.ids[codes[0]] == 200
    assert codes[1] is None
    faces = client().analyse([picture, picture], [None, [Box(60, 120, 140, 50)]])
    assert not faces[0][0].forced
    assert faces[1][0].forced


def test_busy_service_is_asked_again_after_the_time_it_names(service, waits):
    service.script = [(429, {"Retry-After": "7"}, {}), (503, {}, b"gone"), (429, {}, {})]
    assert len(client().detect(portrait(200))) == 1
    assert waits[0] >= 7
    assert 1 <= waits[1] <= 2
    assert 2 <= waits[2] <= 4
    service.script = [(429, {}, {})] * 3
    with pytest.raises(RecogniserError, match="answered 429, 3 times"):
        client(retries=2).detect(portrait(200))
    service.script = [(429, {"Retry-After": "86400"}, {})]
    with pytest.raises(RecogniserError, match="answered 429, 1 times"):
        client().detect(portrait(200))


def test_jitter_differs(service, waits):
    for _ in range(4):
        service.script = [(429, {}, {})]
        client().detect(portrait(200))
    assert len(set(waits)) == 4


def test_expired_face_id_is_made_again(service):
    recogniser = client()
    a, b = (recogniser.encode(portrait(200, at=k))[0] for k in (30, 60))
    service.ids.clear()
    assert recogniser.distance(a, b) == pytest.approx(0.07)
    service.ids.clear()
    azure_pictures._memory.clear()
    azure._verified.clear()
    with pytest.raises(RecogniserError, match="expired") as caught:
        recogniser.distance(a, b)
    assert "run the recognition" in caught.value.hint


def test_an_expired_id_is_renewed_by_another_process_from_the_kept_pictures(service, tmp_path):
    recogniser = client(folder=str(tmp_path / "kept"))
    a, b = (recogniser.encode(portrait(200, at=k))[0] for k in (30, 60))
    assert len(list((tmp_path / "kept").iterdir())) == 2
    azure_pictures._memory.clear()
    for _ in range(3):  # the ids that were handed out stay good, however often they expire
        service.ids.clear()
        azure._verified.clear()
        assert recogniser.distance(a, b) == pytest.approx(0.07)


def test_a_pair_is_verified_once(service):
    recogniser = client()
    a, b = (recogniser.encode(portrait(200, at=k))[0] for k in (30, 60))
    asked = len(service.requests)
    assert recogniser.distance(a, b) == recogniser.distance(b, a) == pytest.approx(0.07)
    assert recogniser.distance(a, a) == 0
    assert len(service.requests) == asked + 1


def test_wrong_key(service, monkeypatch, waits):
    monkeypatch.setenv("AZURE_FACE_KEY", "another")
    with pytest.raises(ConfigError, match="does not accept the key") as caught:
        client().detect(portrait(200))
    assert "another" not in str(caught.value)
    assert waits == []
    assert len(service.requests) == 1


def test_without_approval_only_detection(service):
    service.approved = False
    with pytest.raises(ConfigError, match="not approved") as caught:
        client().detect(portrait(200))
    assert "verify=False" in caught.value.hint
    face = client(verify=False).analyse([portrait(200)])[0][0]
    assert face.box == Box(60, 120, 140, 50)
    assert face.encoding is None


def test_warning_with_success_is_logged_once(service, caplog):
    service.warning = '299 - "This API version is deprecated."'
    azure._warned.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(client().detect(portrait(200))) == 1
    assert [r.message for r in caplog.records if "deprecated" in r.message] == [
        'the Azure Face service warns: 299 - "This API version is deprecated."'
    ]


def test_pictures_are_fitted_into_the_services_limits(service):
    flat = np.zeros((300, 300, 3), np.uint8)  # compresses to less than the service takes
    assert client().detect(flat) == []
    assert len(service.requests[-1]["body"]) >= 1024
    noise = np.random.default_rng(0).integers(0, 255, (1800, 1800, 3)).astype(np.uint8)
    noise[..., 0] = 0
    noise[400:1400, 400:1400, 0] = 220
    assert len(client().detect(noise)) == 1
    assert len(service.requests[-1]["body"]) <= 6 * 1024 * 1024
    with pytest.raises(InputError, match="too small"):
        client().detect(np.zeros((4, 4, 3), np.uint8))
    service.script = [refused(400, "InvalidImageSize", "Image size is too big.")]
    with pytest.raises(InputError, match="InvalidImageSize"):
        client().detect(portrait(200))


def test_a_picture_that_is_too_large_all_the_same_is_not_sent_again(service, waits):
    for answer in (
        refused(413, "RequestBodyTooLarge", "Request body is too large."),
        refused(400, "InvalidImageSize", "Image size is too big."),
    ):
        service.script = [answer]
        with pytest.raises(InputError, match="does not take this picture"):
            client().detect(portrait(200))
    assert waits == []
    assert len(service.requests) == 2


def test_forbidden_for_another_reason_is_told(service, waits):
    service.script = [refused(403, "403", "Out of call volume quota.")]
    with pytest.raises(RecogniserError, match=r"status 403 .*quota"):
        client().detect(portrait(200))
    assert waits == []


def test_verification_is_repeated_and_refused_like_detection(service, waits):
    recogniser = client()
    a, b = (recogniser.encode(portrait(200, at=k))[0] for k in (30, 60))
    service.script = [(429, {"Retry-After": "3"}, {})]
    assert recogniser.distance(a, b) == pytest.approx(0.07)
    assert waits[0] >= 3
    azure._verified.clear()
    service.script = [refused(403, "UnsupportedFeature", "missing approval")]
    with pytest.raises(ConfigError, match="not approved"):
        recogniser.distance(a, b)
    service.script = [refused(401, "401", "Access denied.")]
    with pytest.raises(ConfigError, match="does not accept the key"):
        recogniser.distance(a, b)


def test_other_answers_are_errors_with_what_was_said(service, waits):
    service.script = [refused(409, "Conflict", "Something else.")]
    with pytest.raises(RecogniserError, match=r"status 409 \(Conflict: Something else"):
        client().detect(portrait(200))
    service.script = [(200, {}, b"<html>"), (200, {}, b"<html>")]
    with pytest.raises(RecogniserError, match="not JSON"):
        client(retries=1).detect(portrait(200))


def test_redirects_are_not_followed(service):
    service.script = [(307, {"Location": service.url + "/elsewhere"}, {})]
    with pytest.raises(RecogniserError, match="status 307"):
        client().detect(portrait(200))
    assert [r["path"] for r in service.requests] == ["/face/v1.2/detect"]


def test_unreachable_service(monkeypatch, waits):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FaceService() as gone:
        monkeypatch.setenv("AZURE_FACE_ENDPOINT", gone.url)
    monkeypatch.setenv("AZURE_FACE_KEY", KEY)
    with pytest.raises(RecogniserError, match="cannot be reached"):
        client(retries=1, timeout=5).detect(portrait(200))
    assert len(waits) == 1


def test_rate_is_kept_by_all_threads():
    limiter = Limiter(50)
    times: list[float] = []

    def ask():
        for _ in range(5):
            with limiter.turn():
                times.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) - min(times) >= 19 / 50 * 0.95


def test_rate_is_kept_by_a_whole_cluster():
    from distributed import Client, LocalCluster

    def ask(_):
        limiter = shared_limiter("rate-test", 20.0)
        assert isinstance(limiter, ClusterLimiter)
        with limiter.turn():
            return time.monotonic()

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=3, processes=False, dashboard_address=None, protocol="inproc"
        ) as cluster,
        Client(cluster) as dask,
    ):
        times = dask.gather(dask.map(ask, range(16), pure=False))
    # four leases, each kept for 4/20 s: the sixteenth asks no sooner than 12/20 s after the first
    assert max(times) - min(times) >= 12 / 20 * 0.95
    assert isinstance(shared_limiter("rate-test", 20.0), Limiter)
