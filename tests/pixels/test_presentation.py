"""Images as presentation states want them. Spec: DICOM PS3.4 N.2; PS3.3 C.7.6.11, C.10.4 to C.10.6, C.11.6, C.11.8."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array

from tests.pixels.conftest import sample
from tests.presentation import as_file, item, presentation_state
from xds.model.rendering import Rendering, Window
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool
from xds.pixels.rendering import windowed

CT = sample("CT_small.dcm")
SOFT = {"SoftcopyVOILUTSequence": [item(WindowCenter=40, WindowWidth=400)], "RescaleSlope": 1, "RescaleIntercept": -1024}

ELSEWHERE = item(SeriesInstanceUID="1.2.3", ReferencedImageSequence=[item(ReferencedSOPInstanceUID="1.2")])


def shown(pool: Pool, octets: bytes, **how: Any) -> np.ndarray[Any, Any]:
    made = pool.render(CT, Rendering("image/png", presentation_state=octets, **how))
    found = np.asarray(Image.open(BytesIO(b"".join(made.chunks())))).astype(int)
    made.release()
    return found


def expected(intercept: int = -1024) -> np.ndarray[Any, Any]:
    values: Any = pixel_array(dcmread(CT)).astype(float) + intercept
    return np.rint(windowed(values, Window(40, 400))).astype(int)


def state(**attributes: Any) -> bytes:
    return as_file(presentation_state(dcmread(CT), **(SOFT | attributes)))


def test_the_window_of_the_state_counts(pool: Pool) -> None:
    assert np.array_equal(shown(pool, state()), expected())


def test_what_the_image_says_of_its_values_is_not_looked_at(pool: Pool) -> None:
    """Spec: PS3.4 N.2.1.1: without a modality LUT in the state there is none."""
    plain = state(RescaleSlope=None, RescaleIntercept=None)
    assert np.array_equal(shown(pool, plain), expected(intercept=0))


def test_inverse(pool: Pool) -> None:
    assert np.abs(shown(pool, state(PresentationLUTShape="INVERSE")) - (255 - expected())).max() <= 1


def test_a_presentation_lut(pool: Pool) -> None:
    table = item(LUTDescriptor=[256, 0, 8], LUTData=list(range(255, -1, -1)))
    turned = shown(pool, state(PresentationLUTShape=None, PresentationLUTSequence=[table]))
    assert np.abs(turned - (255 - expected())).max() <= 1


def test_a_lut_instead_of_a_window(pool: Pool) -> None:
    table = item(LUTDescriptor=[4096, -1024, 8], LUTData=[number // 16 for number in range(4096)])
    values = expected_values()
    found = shown(pool, state(SoftcopyVOILUTSequence=[item(VOILUTSequence=[table])]))
    assert np.abs(found - np.clip(values + 1024, 0, 4095) // 16).max() == 0


def expected_values() -> np.ndarray[Any, Any]:
    values: Any = pixel_array(dcmread(CT)).astype(int) - 1024
    return np.asarray(values)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flips", [False, True])
def test_rotated_clockwise_and_then_flipped(pool: Pool, turns: int, flips: bool) -> None:
    found = shown(pool, state(ImageRotation=90 * turns, ImageHorizontalFlip="Y" if flips else "N"))
    wanted = np.rot90(expected(), -turns)
    assert np.array_equal(found, np.fliplr(wanted) if flips else wanted)


def test_the_displayed_area_may_reach_beyond_the_image(pool: Pool) -> None:
    area = item(DisplayedAreaTopLeftHandCorner=[-9, 11], DisplayedAreaBottomRightHandCorner=[40, 30])
    found = shown(pool, state(DisplayedAreaSelectionSequence=[area]))
    assert found.shape == (20, 50)
    assert not found[:, :10].any()
    assert np.array_equal(found[:, 10:], expected()[10:30, :40])
    assert shown(pool, state(DisplayedAreaSelectionSequence=[area]), size=(100, 100)).shape == (40, 100)


def test_shutters(pool: Pool) -> None:
    edges = {"Left": 10, "Right": 100}
    shutter = {f"Shutter{side}VerticalEdge": edge for side, edge in edges.items()}
    shutter |= {"ShutterUpperHorizontalEdge": 20, "ShutterLowerHorizontalEdge": 120, "ShutterPresentationValue": 65535}
    wanted = np.full_like(expected(), 255)
    wanted[20:119, 10:99] = expected()[20:119, 10:99]
    assert np.array_equal(shown(pool, state(ShutterShape="RECTANGULAR", **shutter)), wanted)
    ring = shown(pool, state(ShutterShape="CIRCULAR", CenterOfCircularShutter=[60, 50], RadiusOfCircularShutter=30))
    assert not ring[59, 81:].any()
    assert np.array_equal(ring[59, 25:75], expected()[59, 25:75])
    corners = [10, 10, 10, 60, 60, 60, 60, 10]
    inside = shown(pool, state(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=corners))
    assert not inside[70:].any()
    assert np.array_equal(inside[20:50, 20:50], expected()[20:50, 20:50])


def test_graphics_and_texts_go_with_the_image(pool: Pool) -> None:
    line = item(GraphicAnnotationUnits="PIXEL", GraphicType="POLYLINE", GraphicData=[2.5, 10.5, 2.5, 100.5])
    text = item(
        BoundingBoxAnnotationUnits="DISPLAY",
        BoundingBoxTopLeftHandCorner=[0.5, 0.5],
        BoundingBoxBottomRightHandCorner=[0.9, 0.6],
        UnformattedTextValue="Größe",
    )
    marks = item(GraphicLayer="L", GraphicObjectSequence=[line], TextObjectSequence=[text])
    found = shown(pool, state(GraphicAnnotationSequence=[marks]))
    assert (found[10:101, 2] == 255).all()
    assert (found[64:76, 64:116] != expected()[64:76, 64:116]).any()
    assert (shown(pool, state(GraphicAnnotationSequence=[marks], ImageRotation=90))[2, 28:118] == 255).all()


@pytest.mark.parametrize(
    "graphic",
    [
        item(GraphicType="CIRCLE", GraphicData=[60, 60, 80, 60]),
        item(GraphicType="ELLIPSE", GraphicData=[40, 60, 80, 60, 60, 50, 60, 70]),
        item(GraphicType="POINT", GraphicData=[60, 60]),
        item(GraphicType="POLYLINE", GraphicData=[40, 60, 80, 60, 60, 50, 40, 60], GraphicFilled="Y"),
    ],
    ids=lambda graphic: str(graphic.GraphicType),
)
def test_every_graphic_is_drawn(pool: Pool, graphic: Dataset) -> None:
    graphic.GraphicAnnotationUnits = "PIXEL"
    found = shown(pool, state(GraphicAnnotationSequence=[item(GraphicObjectSequence=[graphic])]))
    changed = found != expected()
    assert changed.any()
    assert not changed[:35].any()


@pytest.mark.parametrize(
    "attributes",
    [
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.2"},
        {
            "ReferencedSeriesSequence": [
                item(SeriesInstanceUID="1.2.3", ReferencedImageSequence=[item(ReferencedSOPInstanceUID="1.2")])
            ]
        },
        {"ShutterShape": "BITMAP"},
        {"OverlayRows": 128},
        {"GraphicAnnotationSequence": [item(GraphicObjectSequence=[item(GraphicType="STAR", GraphicAnnotationUnits="PIXEL")])]},
    ],
    ids=["another class", "another image", "bitmap", "overlay", "graphic"],
)
def test_a_state_that_cannot_be_applied_whole_is_not_applied(pool: Pool, attributes: dict[str, Any]) -> None:
    with pytest.raises(PixelError):
        shown(pool, state(**attributes))


def test_octets_that_are_no_state(pool: Pool) -> None:
    with pytest.raises(PixelError):
        shown(pool, b"\0" * 200)


def test_a_colour_image_has_no_grey_state(pool: Pool, tmp_path: Path) -> None:
    colour = dcmread(sample("SC_rgb_small_odd.dcm"))
    path = tmp_path / "colour.dcm"
    colour.save_as(path, enforce_file_format=True)
    with pytest.raises(PixelError, match="grey"):
        pool.render(path, Rendering("image/png", presentation_state=as_file(presentation_state(colour))))
