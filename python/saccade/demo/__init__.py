"""The main job on a real photograph: find faces, speed up a detector, measure. ``saccade demo`` runs it."""

from saccade.demo.detector import DetectorResult, compare_detector
from saccade.demo.faces import FacesResult, find_faces
from saccade.demo.photo import Photo, load_photo
from saccade.demo.report import write_report
from saccade.demo.result import Demonstration
from saccade.demo.support import Check, DemoError, require_extras

__all__ = [
    "Check",
    "DemoError",
    "Demonstration",
    "DetectorResult",
    "FacesResult",
    "Photo",
    "compare_detector",
    "find_faces",
    "load_photo",
    "require_extras",
    "write_report",
]
