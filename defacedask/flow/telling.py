"""What a worker tells of each stage that ran: a line of the log, and counters for Prometheus."""

from __future__ import annotations

import functools
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from defacedask.config import option

if TYPE_CHECKING:
    from defacedask.flow.result import TaskResult

__all__ = ["JsonLines", "tell"]

#: Fields of a record of the log, and of a line of JSON.
FIELDS = ("stage", "case", "defacer", "status", "reason", "seconds", "peak_rss_mb")


def tell(result: TaskResult) -> None:
    """Tell how a stage went; cases are named, so that the log stays on site as the data do."""
    who = f"{result.case} by {result.defacer}" if result.defacer else result.case
    about = {name: getattr(result, name) for name in FIELDS}
    _log().info("%s of %s: %s in %.1f s", result.stage, who, result.status, result.seconds, extra=about)
    if counters := _counters():
        counters["stages"].labels(result.stage, result.status).inc()
        counters["seconds"].labels(result.stage).inc(result.seconds)
        counters["peak"].labels(result.stage).set(result.peak_rss_mb * 2**20)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and `FIELDS` where it has them."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


@functools.cache
def _log() -> logging.Logger:
    """The log; as lines of JSON on standard error where the option ``log`` says so."""
    if option("log") == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        whole = logging.getLogger("defacedask")
        whole.addHandler(handler)
        whole.setLevel(logging.INFO)
        whole.propagate = False
    return logging.getLogger(__name__)


@functools.cache
def _counters() -> dict[str, Any]:
    """Counters in prometheus_client's registry, which Dask's ``/metrics`` of each worker shows; none without it."""
    try:
        from prometheus_client import Counter, Gauge
    except ImportError:
        return {}
    return {
        "stages": Counter("defacedask_stages", "Stages of a case that ran here", ["stage", "status"]),
        "seconds": Counter("defacedask_stage_seconds", "Seconds that they took", ["stage"]),
        "peak": Gauge("defacedask_stage_peak_bytes", "Peak memory of the last of them", ["stage"]),
    }
