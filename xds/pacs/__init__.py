"""DICOM associations, on either side of them, and clients of a PACS outside: its studies by C-FIND or QIDO-RS, its images by
C-GET, C-MOVE or WADO-RS.

Spec: DICOM PS3.8 (associations), PS3.4 C (query/retrieve), PS3.18 10 (DICOMweb).
"""
