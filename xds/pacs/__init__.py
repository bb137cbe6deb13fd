"""Clients of a PACS outside: its studies by C-FIND or QIDO-RS, its images by C-GET, C-MOVE or WADO-RS.

Spec: DICOM PS3.4 C (query/retrieve), PS3.18 10 (DICOMweb).
"""
