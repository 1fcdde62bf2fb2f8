"""Are virtual patients different people to a face recogniser, and each the same person in two scans?"""

import itertools

import numpy as np
import pytest

from defacedask.anatomy.template import load_template
from defacedask.faces.recognition import get_recogniser
from defacedask.faces.render import View, render_views, skin_surface
from defacedask.phantom.images import ct_values
from defacedask.phantom.protocol import scan_grid
from defacedask.phantom.shape import Pose, Shape, subject_rng
from defacedask.phantom.warp import Warp

SUBJECTS, SCANS, SEED = 4, 2, 11
VIEWS = (View(0, 0), View(0, -10), View(15, 0))


def pictures(subject, scan):
    """Frontal views of one CT, the camera held by the true pose; couch and headrest left out."""
    shape, pose = Shape.draw(SEED, subject), Pose.draw(SEED, subject, scan)
    grid = scan_grid("CT", "normal", SEED, subject, scan, pose, "")
    hu, skin = ct_values(
        Warp(shape, pose, grid, load_template().geometry), subject_rng(SEED, "CT", subject, scan)
    )
    to_head = np.eye(4)
    to_head[:3, :3], to_head[:3, 3] = pose.rotation, -pose.rotation @ pose.shift
    surface = skin_surface(hu, grid, level=-300, smooth_mm=2.0, drop=skin > 4)
    return render_views(surface, to_head, VIEWS)


@pytest.mark.slow
def test_faces_are_found_and_subjects_lie_farther_apart_than_scans():
    recogniser = get_recogniser("face_recognition")
    seen, total, codes = 0, 0, {}
    for subject, scan in itertools.product(range(1, SUBJECTS + 1), range(1, SCANS + 1)):
        for image in pictures(subject, scan):
            total += 1
            boxes = recogniser.detect(image)
            seen += bool(boxes)
            if boxes:
                codes.setdefault((subject, scan), []).append(recogniser.encode(image, boxes)[0])
    assert seen >= 0.9 * total
    assert len(codes) == SUBJECTS * SCANS

    def nearest(a, b):
        return min(recogniser.distance(x, y) for x in codes[a] for y in codes[b])

    pairs = list(itertools.combinations(sorted(codes), 2))
    same = [nearest(a, b) for a, b in pairs if a[0] == b[0]]
    different = [nearest(a, b) for a, b in pairs if a[0] != b[0]]
    assert max(same) < 0.3  # the study's tolerance
    assert max(same) < min(different)
    assert np.median(different) > 0.4
