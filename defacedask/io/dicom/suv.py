"""Body-weight SUV of a PET series, where its header allows it.

SUV = activity concentration [Bq/mL] x weight [g] / injected dose decayed to the time the voxels are decay-corrected
to [Bq] (QIBA "SUV vendor-neutral pseudo-code", 2011; PS3.3 C.8.9.1). Where a needed fact is missing, implausible or
contradictory the series stays in the units it has, and says why.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["enhanced_suv_facts", "parse_date_time", "suv_facts"]

DAY = 86400.0


def parse_date_time(date: str, time: str) -> dt.datetime | None:
    """DICOM DA and TM (PS3.5 6.2) as a datetime without zone, or None if either cannot be read."""
    date, time = re.sub(r"[.\-/]", "", str(date or "").strip()), str(time or "").strip().replace(":", "")
    match = re.fullmatch(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?", time)
    if len(date) != 8 or not date.isdigit() or match is None:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        day = dt.datetime(int(date[:4]), int(date[4:6]), int(date[6:]))
        micro = int((fraction or "0").ljust(6, "0"))
        return day + dt.timedelta(
            hours=int(hour), minutes=int(minute or 0), seconds=min(59, int(second or 0)), microseconds=micro
        )
    except ValueError:
        return None


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number


class _NoSuv(Exception):
    """The header does not allow SUV; the message says why."""


def _scan_start(dataset: Any, slices: list[dict[str, Any]], half_life: float) -> dt.datetime:
    """Time the voxels of a START series are decay-corrected to: the start of the series' acquisition."""
    series = parse_date_time(dataset.get("SeriesDate", ""), dataset.get("SeriesTime", ""))
    acquired = [parse_date_time(s.get("AcquisitionDate", ""), s.get("AcquisitionTime", "")) for s in slices]
    times = [t for t in acquired if t is not None]
    if not times:
        raise _NoSuv("the acquisition time is missing")
    first = min(times)
    if series is not None and series <= first and (first - series).total_seconds() < DAY / 2:
        return series
    # The series was made later than it was acquired: work back from each frame (QIBA). FrameReferenceTime is when,
    # after the reference time, the frame's mean count rate was; decay within the frame puts that before its middle.
    rate = math.log(2) / half_life
    starts = []
    for time, one in zip(acquired, slices, strict=True):
        reference = _number(one.get("FrameReferenceTime", math.nan)) / 1000
        duration = _number(one.get("ActualFrameDuration", math.nan)) / 1000
        if time is None or not math.isfinite(reference) or not duration > 0:
            raise _NoSuv(
                "the series time is later than the acquisition, and the frames do not say their times"
            )
        x = rate * duration
        starts.append(time - dt.timedelta(seconds=reference - math.log(x / -math.expm1(-x)) / rate))
    if (max(starts) - min(starts)).total_seconds() > 60:
        raise _NoSuv("the series time is later than the acquisition, and the frames disagree about the start")
    return min(starts)


def _injection(info: Any, scan: dt.datetime) -> dt.datetime:
    """Time of injection: with its own date if that fits, else the last such time of day before the scan."""
    full = str(info.get("RadiopharmaceuticalStartDateTime", "") or "")
    own = parse_date_time(full[:8], re.split(r"[+-]", full[8:])[0]) if full else None
    if own is not None and 0 <= (scan - own).total_seconds() < DAY:
        return own
    time = str(info.get("RadiopharmaceuticalStartTime", "") or "") or (full[8:].split("+")[0] if full else "")
    same_day = parse_date_time(scan.strftime("%Y%m%d"), time)
    if same_day is None:
        raise _NoSuv("the time of injection is missing")
    return same_day if same_day <= scan else same_day - dt.timedelta(days=1)


def _factor(dataset: Any, slices: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    corrected = {str(c).upper() for c in _many(dataset.get("CorrectedImage", ()))}
    if "ATTN" not in corrected or not ({"DECY", "DECAY"} & corrected):
        raise _NoSuv("the images are not corrected for attenuation and decay")
    weight = _number(dataset.get("PatientWeight"))
    if not 0.5 <= weight <= 500:
        raise _NoSuv("the patient's weight is missing or implausible")
    items = list(dataset.get("RadiopharmaceuticalInformationSequence", None) or ())
    if len(items) != 1:
        raise _NoSuv(
            "the radiopharmaceutical is not described"
            if not items
            else "there are several radiopharmaceuticals"
        )
    info = items[0]
    dose, half_life = _number(info.get("RadionuclideTotalDose")), _number(info.get("RadionuclideHalfLife"))
    if not 1e5 <= dose <= 1e11:
        raise _NoSuv("the injected dose is missing or implausible")
    if not 10 <= half_life <= 1e7:
        raise _NoSuv("the half-life is missing or implausible")
    how = str(dataset.get("DecayCorrection", "")).strip().upper()
    facts = {"weight_kg": weight, "dose_bq": dose, "half_life_s": half_life, "decay_correction": how}
    if how == "ADMIN":
        return weight * 1000 / dose, {**facts, "delay_s": 0.0}
    if how != "START":
        raise _NoSuv(f"the decay correction is {how or 'not stated'}, and START or ADMIN is needed")
    scan = _scan_start(dataset, slices, half_life)
    delay = (scan - _injection(info, scan)).total_seconds()
    if delay > 10 * half_life:
        raise _NoSuv(f"the injection lies {delay / 3600:.1f} h before the scan, more than ten half-lives")
    decayed = dose * 2.0 ** (-delay / half_life)
    return weight * 1000 / decayed, {**facts, "delay_s": delay}


def _many(value: Any) -> Iterable[Any]:
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _philips(dataset: Any) -> tuple[float, float]:
    """Philips' private (SUV scale factor, activity concentration factor) for counts, NaN where absent."""
    try:
        block = dataset.private_block(0x7053, "Philips PET Private Group")
    except KeyError:
        return math.nan, math.nan
    return tuple(  # type: ignore[return-value]
        _number(block[offset].value) if offset in block else math.nan for offset in (0x00, 0x09)
    )


def suv_facts(dataset: Any, slices: list[dict[str, Any]]) -> dict[str, Any]:
    """Units a PET series is read in, and the factor that leads there.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Header of one instance.
    slices : list of dict
        For every slice AcquisitionDate, AcquisitionTime (text), FrameReferenceTime and ActualFrameDuration (ms).

    Returns
    -------
    dict
        ``units`` ("g/mL" for body-weight SUV, "Bq/mL", or "1"), ``factor`` (real value = factor x rescaled value),
        ``why`` (a clause) and, where SUV was computed, the facts it was computed from.
    """
    units = str(dataset.get("Units", "")).strip().upper()
    kind = str(dataset.get("SUVType", "") or "BW").strip().upper()
    if units == "GML":
        if kind == "BW":
            return {"units": "g/mL", "factor": 1.0, "why": "the stored values are body-weight SUV"}
        return {
            "units": "1",
            "factor": 1.0,
            "why": f"the stored values are SUV of the type {kind}, not body weight",
        }
    scale = 1.0
    if units == "CNTS":
        suv, activity = _philips(dataset)
        if suv > 0 and math.isfinite(suv):
            return {"units": "g/mL", "factor": suv, "why": "the vendor's SUV scale factor (7053,1000)"}
        if not (activity > 0 and math.isfinite(activity)):
            return {"units": "1", "factor": 1.0, "why": "the stored values are counts without a scale"}
        scale = activity
    elif units != "BQML":
        return {
            "units": "1",
            "factor": 1.0,
            "why": f"the stored values are in {units or 'units that are not stated'}",
        }
    try:
        factor, facts = _factor(dataset, slices)
    except _NoSuv as reason:
        return {"units": "Bq/mL", "factor": scale, "why": f"no SUV: {reason}"}
    return {"units": "g/mL", "factor": scale * factor, "why": "computed from weight, dose and times", **facts}


def enhanced_suv_facts(dataset: Any) -> dict[str, Any]:
    """The same for Enhanced PET (PS3.3 C.8.22), whose header states the time its decay correction refers to.

    Units come from Units (0054,1001) where a legacy conversion kept it, else from the real world value mapping.
    """
    units = str(dataset.get("Units", "")).strip().upper() or _mapped_units(dataset)
    if units == "GML":
        return {"units": "g/mL", "factor": 1.0, "why": "the stored values are body-weight SUV"}
    if units != "BQML":
        return {
            "units": "1",
            "factor": 1.0,
            "why": f"the stored values are in {units or 'units that are not stated'}",
        }
    try:
        if "NO" in {str(dataset.get(k, "")).upper() for k in ("DecayCorrected", "AttenuationCorrected")}:
            raise _NoSuv("the images are not corrected for attenuation and decay")
        weight = _number(dataset.get("PatientWeight"))
        items = list(dataset.get("RadiopharmaceuticalInformationSequence", None) or ())
        if not 0.5 <= weight <= 500:
            raise _NoSuv("the patient's weight is missing or implausible")
        if len(items) != 1:
            raise _NoSuv("the radiopharmaceutical is not described, or there are several")
        dose, half_life = (
            _number(items[0].get("RadionuclideTotalDose")),
            _number(items[0].get("RadionuclideHalfLife")),
        )
        if not 1e5 <= dose <= 1e11 or not 10 <= half_life <= 1e7:
            raise _NoSuv("the injected dose or the half-life is missing or implausible")
        full = str(dataset.get("DecayCorrectionDateTime", "") or "")
        reference = parse_date_time(full[:8], re.split(r"[+-]", full[8:])[0]) if full else None
        if reference is None:
            raise _NoSuv("the time its decay correction refers to is missing")
        delay = (reference - _injection(items[0], reference)).total_seconds()
        if delay > 10 * half_life:
            raise _NoSuv(f"the injection lies {delay / 3600:.1f} h before, more than ten half-lives")
    except _NoSuv as reason:
        return {"units": "Bq/mL", "factor": 1.0, "why": f"no SUV: {reason}"}
    facts = {"weight_kg": weight, "dose_bq": dose, "half_life_s": half_life, "delay_s": delay}
    factor = weight * 1000 / (dose * 2.0 ** (-delay / half_life))
    return {"units": "g/mL", "factor": factor, "why": "computed from weight, dose and times", **facts}


def _mapped_units(dataset: Any) -> str:
    """BQML or GML if the frames' real world value mapping is in Bq/ml or body-weight SUV, else its own code.

    Only where the mapping is the rescale itself: a mapping with another slope is of values that are not read.
    """
    shared = list(dataset.get("SharedFunctionalGroupsSequence", None) or ())[:1]
    codes = set()
    for frame in list(dataset.get("PerFrameFunctionalGroupsSequence", None) or ()):
        mapping = _first(frame, shared, "RealWorldValueMappingSequence")
        rescale = _first(frame, shared, "PixelValueTransformationSequence")
        unit = (list(mapping.get("MeasurementUnitsCodeSequence", None) or ()) if mapping is not None else [])[
            :1
        ]
        if rescale is None or not unit:
            return ""
        pairs = (("RealWorldValueSlope", "RescaleSlope"), ("RealWorldValueIntercept", "RescaleIntercept"))
        if any(
            not math.isclose(_number(mapping.get(a)), _number(rescale.get(b)), rel_tol=1e-6) for a, b in pairs
        ):
            return "a mapping that is not the rescale"
        codes.add(str(unit[0].get("CodeValue", "")))
    if len(codes) != 1:
        return ""
    code = codes.pop()
    return {"Bq/ml": "BQML", "Bq/mL": "BQML", "{SUVbw}g/ml": "GML", "g/ml{SUVbw}": "GML"}.get(code, code)


def _first(frame: Any, shared: list[Any], group: str) -> Any:
    """First item of a functional group of a frame, or None."""
    for groups in (frame, *shared):
        items = list(groups.get(group, None) or ())
        if items:
            return items[0]
    return None
