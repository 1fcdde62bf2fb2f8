"""A local server that speaks the Face service's protocol, version 1.2, as its reference describes it.

A picture shows the person whose number is its brightest red value; a picture without red has no face.
"""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

KEY = "the-key-of-the-test"


class FaceService:
    """Start with ``with``; ``script`` holds (status, headers, body) to answer with before anything else."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], object]] = []
        self.requests: list[dict] = []
        self.ids: dict[str, int] = {}
        self.approved = True
        self.warning = ""

    def __enter__(self) -> FaceService:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query).items()}
                seen = {"path": parts.path, "query": query, "body": body, "headers": self.headers}
                service.requests.append({**seen, "at": time.monotonic()})
                status, headers, answer = service.answer(parts.path, query, body, self.headers)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                if service.warning and status == 200:
                    self.send_header("Warning", service.warning)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path, query, body, headers):
        if self.script:
            return self.script.pop(0)
        if headers.get("Ocp-Apim-Subscription-Key") != KEY:
            return refused(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")
        if path == "/face/v1.2/detect":
            if headers["Content-Type"] != "application/octet-stream":
                return refused(415, "UnsupportedMediaType", "Octet streams only.")
            return self.detect(query, body)
        if path == "/face/v1.2/verify":
            return self.verify(json.loads(body))
        return refused(404, "404", "Resource not found")

    def detect(self, query, body):
        if not 1024 <= len(body) <= 6 * 1024 * 1024:
            return refused(400, "InvalidImageSize", "Image size is too small or too big.")
        if query["returnFaceId"] == "true" and not self.approved:
            answer = {
                "code": "InvalidRequest",
                "message": "Invalid request has been sent.",
                "innererror": {
                    "code": "UnsupportedFeature",
                    "message": "Feature is not supported, missing approval for Identification,Verification.",
                },
            }
            return 403, {}, {"error": answer}
        with Image.open(io.BytesIO(body)) as picture:
            red = np.array(picture.convert("RGB"))[..., 0]
        if red.max() < 50:
            return 200, {}, []
        rows, columns = np.nonzero(red > 50)
        face = {
            "faceRectangle": {
                "top": int(rows.min()),
                "left": int(columns.min()),
                "width": int(np.ptp(columns)) + 1,
                "height": int(np.ptp(rows)) + 1,
            }
        }
        if query["returnFaceId"] == "true":
            face["faceId"] = str(uuid.uuid4())
            self.ids[face["faceId"]] = int(red.max())
        return 200, {}, [face]

    def verify(self, question):
        persons = [self.ids.get(question[name]) for name in ("faceId1", "faceId2")]
        if None in persons:
            return refused(404, "FaceNotFound", "Face is not found.")
        same = persons[0] == persons[1]
        return 200, {}, {"isIdentical": same, "confidence": 0.93 if same else 0.08}


def refused(status, code, message):
    return status, {}, {"error": {"code": code, "message": message}}
