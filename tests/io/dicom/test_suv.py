"""Body-weight SUV: the arithmetic, the times, and every reason to stay in Bq/mL."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from support import make

from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.suv import parse_date_time
from defacedask.volume import real_values

GRID = make.grid()
STORED = make.ramp(GRID.shape, low=0)
HALF_LIFE, DOSE, WEIGHT = 6586.2, 370e6, 70_000


def pet(folder, change=None, each=None, **facts):
    def alter(dataset, k):
        make.pet_facts(dataset, **facts)
        if change is not None:
            for keyword, value in change.items():
                setattr(dataset, keyword, value)
        if each is not None:
            each(dataset, k)

    make.write_series(folder, STORED, GRID, "PT", slope=np.arange(1, 6) * 0.5, change=alter)
    result = scan(folder)
    assert not result.skipped, result.skipped
    image = result.cases[0].primary
    return image.facts["suv"], read_image(image)


def expected(delay):
    return STORED * (np.arange(1, 6) * 0.5)[:, None, None] * WEIGHT / (DOSE * 2 ** (-delay / HALF_LIFE))


def assert_suv(folder, delay, **options):
    facts, volume = pet(folder, **options)
    assert volume.attrs["real_units"] == "g/mL", facts
    np.testing.assert_allclose(real_values(volume, np.float64), expected(delay), rtol=1e-12)
    assert facts["delay_s"] == pytest.approx(delay)


def test_start(tmp_path):
    assert_suv(tmp_path, 3600)


def test_decay_corrected_to_injection(tmp_path):
    assert_suv(tmp_path, 0, DecayCorrection="ADMIN")


def test_across_midnight(tmp_path):
    late = {"SeriesTime": "003000", "AcquisitionTime": "003000"}
    assert_suv(tmp_path, 5400, change=late, RadiopharmaceuticalStartTime="230000")


def test_injection_with_its_date(tmp_path):
    assert_suv(tmp_path, 7200, RadiopharmaceuticalStartDateTime="20240102081500.000000")


def test_injection_dates_shifted_by_deidentification_are_not_believed(tmp_path):
    assert_suv(tmp_path, 3600, RadiopharmaceuticalStartDateTime="20230607091500.000000")


def test_first_bed_starts_the_series(tmp_path):
    def beds(dataset, k):
        dataset.AcquisitionTime = f"10{15 + 3 * k:02d}00"

    assert_suv(tmp_path, 3600, each=beds)


def test_series_made_later_than_acquired(tmp_path):
    """The start is worked back from each frame: mean of the decaying count rate, then the frame reference time."""
    duration = 180.0
    rate = np.log(2) / HALF_LIFE
    middle = np.log(rate * duration / -np.expm1(-rate * duration)) / rate
    assert middle == pytest.approx(duration / 2, rel=0.01)

    def beds(dataset, k):
        dataset.SeriesTime = "113000"
        dataset.AcquisitionTime = f"10{15 + 3 * k:02d}00"
        dataset.FrameReferenceTime = f"{(180 * k + middle) * 1000:.3f}"

    assert_suv(tmp_path, 3600, each=beds)


def test_stored_as_suv(tmp_path):
    facts, volume = pet(tmp_path, Units="GML")
    assert (volume.attrs["real_units"], facts["factor"]) == ("g/mL", 1.0)
    facts, volume = pet(tmp_path / "lbm", Units="GML", SUVType="LBM")
    assert volume.attrs["real_units"] == "1"
    assert "LBM" in volume.attrs["suv_why"]


def test_vendor_scale_factors(tmp_path):
    def philips(suv, activity):
        def each(dataset, k):
            dataset.Units = "CNTS"
            block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(0x00, "DS", suv)
            block.add_new(0x09, "DS", activity)

        return each

    facts, volume = pet(tmp_path / "a", each=philips("0.0005", "2"))
    assert (facts["factor"], volume.attrs["real_units"]) == (0.0005, "g/mL")
    facts, volume = pet(tmp_path / "b", each=philips("0", "2"))
    np.testing.assert_allclose(real_values(volume, np.float64), 2 * expected(3600))
    facts, volume = pet(tmp_path / "c", Units="CNTS")
    assert volume.attrs["real_units"] == "1"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"PatientWeight": None}, "weight"),
        ({"PatientWeight": "0"}, "weight"),
        ({"PatientWeight": "70000"}, "weight"),
        ({"RadionuclideTotalDose": None}, "dose"),
        ({"RadionuclideTotalDose": "370"}, "dose"),
        ({"RadionuclideHalfLife": None}, "half-life"),
        ({"RadiopharmaceuticalStartTime": None}, "time of injection"),
        ({"RadiopharmaceuticalInformationSequence": None}, "not described"),
        ({"DecayCorrection": "NONE"}, "decay correction is NONE"),
        ({"CorrectedImage": ["DECY"]}, "not corrected"),
        ({"CorrectedImage": ["ATTN"]}, "not corrected"),
        ({"RadiopharmaceuticalStartTime": "101600"}, "more than ten half-lives"),
    ],
)
def test_stays_in_bq_per_ml(tmp_path, facts, why):
    if facts == {"RadiopharmaceuticalInformationSequence": None}:
        _, volume = pet(tmp_path, each=lambda d, k: delattr(d, "RadiopharmaceuticalInformationSequence"))
    else:
        _, volume = pet(tmp_path, **facts)
    assert volume.attrs["real_units"] == "Bq/mL"
    assert why in volume.attrs["suv_why"]
    slope = (np.arange(1, 6) * 0.5)[:, None, None]
    np.testing.assert_allclose(real_values(volume, np.float64), STORED * slope)


def test_acquisition_time_missing(tmp_path):
    facts, volume = pet(
        tmp_path, each=lambda d, k: (delattr(d, "AcquisitionTime"), delattr(d, "AcquisitionDate"))
    )
    assert volume.attrs["real_units"] == "Bq/mL"
    assert "acquisition time" in facts["why"]


def test_without_rescale_slope_is_refused(tmp_path):
    make.write_series(tmp_path, STORED, GRID, "PT", change=lambda d, k: delattr(d, "RescaleSlope"))
    result = scan(tmp_path)
    assert not result.cases
    assert "without rescale slope" in result.skipped[0].reason


@pytest.mark.parametrize(
    ("date", "time", "result"),
    [
        ("20240229", "235959.999999", dt.datetime(2024, 2, 29, 23, 59, 59, 999999)),
        ("2024.02.29", "12:30:15", dt.datetime(2024, 2, 29, 12, 30, 15)),
        ("20240101", "07", dt.datetime(2024, 1, 1, 7)),
        ("20240101", "0730", dt.datetime(2024, 1, 1, 7, 30)),
        ("20240101", "073060", dt.datetime(2024, 1, 1, 7, 30, 59)),
        ("20230229", "12", None),
        ("", "12", None),
        ("20240101", "", None),
        ("20240101", "7:30 pm", None),
    ],
)
def test_dates_and_times(date, time, result):
    assert parse_date_time(date, time) == result
