"""How the manifest of a study is made, in each of its forms, from the one record of the study.

Spec: RAD TF-2 4.68.4.1.2.2; IHE RAD MADO 6.X.2; DRIMbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any, Final

from xds.actors.imaging_metadata import region_of
from xds.actors.imaging_regions import target_region
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import ImagingOrder, ManifestForm, Series, Study
from xds.model.imaging_manifest import (
    KeyObjectDetail,
    RetrieveInformation,
    SeriesDetail,
    StudyManifest,
    generated_accession,
    requests_of,
)
from xds.model.metadata import Code
from xds.model.vocabulary import KEY_OBJECT_SELECTION
from xds.store import imaging_headers
from xds.store.database import Database
from xds.wire import kos, kos_writing
from xds.wire.dicom_study import CODING_SCHEMES

#: How many series of one study are looked at for their dates at most, each by the header of one instance.
_MOST_SERIES: Final = 2000


@dataclass(frozen=True, slots=True)
class ManifestStyle:
    """How manifests are written. `codes` is `99IHE` (as MADO's trial implementation has them) or `DCM` (CP-2595).

    The DRIMbox wants `whole_path` (Retrieve URL names the series), `in_words` and other patient identifiers in the classic form.
    """

    forms: tuple[ManifestForm, ...] = (ManifestForm.XDS_I,)
    codes: str = "99IHE"
    whole_path: bool = False
    in_words: bool = False
    other_patient_ids: bool = False
    manufacturer: str = "XDS"
    institution: str = ""
    locations: Mapping[str, RetrieveInformation] = field(default_factory=dict)


class ManifestMaker:
    """Makes manifests. One object serves all threads."""

    def __init__(self, database: Database, identity: DomainIdentity, style: ManifestStyle, zone: tzinfo) -> None:
        self._database = database
        self._identity = identity
        self._style = style
        self._zone = zone

    @property
    def forms(self) -> tuple[ManifestForm, ...]:
        """The forms that are published; each after the first is a transformation of that one."""
        return self._style.forms

    @property
    def locations(self) -> Mapping[str, RetrieveInformation]:
        """Where the images of sources outside are retrieved, by the names of the sources."""
        return self._style.locations

    def describe(
        self,
        study: Study,
        uids: kos.ManifestIdentifiers,
        when: datetime,
        form: ManifestForm,
        others: tuple[PatientIdentifier, ...],
    ) -> StudyManifest:
        """What the manifest says. The patient of `study` has her issuer; `others` are her identifiers elsewhere."""
        identity, style = self._identity, self._style
        url = f"{identity.public_url}/dicomweb" if identity.public_url else None
        manifest = StudyManifest(
            study,
            uids.sop_instance_uid,
            uids.series_instance_uid,
            RetrieveInformation(identity.ae_title, identity.imaging_source_unique_id, url, style.whole_path),
            kos.created_in_study_time(study, when, self._zone),
            style.manufacturer,
            style.institution,
            _issued(requests_of(study), study.patient.issuer_oid),
            others if style.other_patient_ids else (),
            style.locations,
        )
        return self._described(manifest, others) if form is ManifestForm.MADO else manifest

    def write(self, manifest: StudyManifest, form: ManifestForm) -> bytes:
        """Its Part 10 file."""
        return kos_writing.write_kos(manifest, form, codes=kos_writing.CODES[self._style.codes], text=self._style.in_words)

    def _described(self, manifest: StudyManifest, others: tuple[PatientIdentifier, ...]) -> StudyManifest:
        study = manifest.study
        requests = manifest.requests
        if not any(order.accession for order in requests):
            accession = generated_accession(study.study_instance_uid, self._identity.imaging_source_unique_id)
            requests = tuple(replace(order, accession=accession) for order in requests) or (ImagingOrder(accession=accession),)
        institution = manifest.institution or study.institution or self._identity.ae_title
        details = {each.series_instance_uid: self._series_detail(study, each) for each in study.series[:_MOST_SERIES]}
        documents = {
            instance.sop_instance_uid: detail
            for series in study.series
            for instance in series.instances
            if instance.sop_class_uid == KEY_OBJECT_SELECTION
            and (detail := self._key_object(study, series, instance.sop_instance_uid))
        }
        return replace(
            manifest,
            # Base URIs alone: whoever reads a described manifest adds the path.
            retrieve=replace(manifest.retrieve, whole_path=False),
            requests=requests,
            institution=institution,
            other_patient_ids=others,
            series=details,
            key_objects=documents,
        )

    def _series_detail(self, study: Study, series: Series) -> SeriesDetail:
        header = self._header(study, series, series.instances[0].sop_instance_uid)
        date = _text(header, "00080021") or study.study_date
        return SeriesDetail(date, _text(header, "00080031") or study.study_time, target_region(region_of(series)))

    def _key_object(self, study: Study, series: Series, sop_instance_uid: str) -> KeyObjectDetail | None:
        header = self._header(study, series, sop_instance_uid)
        title = next((code for item in _items(header, "0040A043") if (code := _code(item))), None)
        if title is None:
            return None
        described = (
            _text(item, "0040A160")
            for item in _items(header, "0040A730")
            if any(_text(name, "00080100") == "113012" for name in _items(item, "0040A043"))
        )
        return KeyObjectDetail(title, next(described, ""))

    def _header(self, study: Study, series: Series, sop_instance_uid: str) -> Mapping[str, Any]:
        with self._database.read() as connection:
            found = list(
                imaging_headers.headers(connection, study.study_instance_uid, series.series_instance_uid, sop_instance_uid)
            )
        return dict(json.loads(imaging_headers.unpack(found[0][2]))) if found else {}


def _issued(requests: tuple[ImagingOrder, ...], authority_oid: str | None) -> tuple[ImagingOrder, ...]:
    """Each accession number under an issuer: who issued the patient's identifier, where nobody says, as in referenceIdList.

    Spec: MADO 6.X.2 (Issuer of Accession Number Sequence is there with the number).
    """
    return tuple(
        replace(order, accession=replace(order.accession, issuer_oid=authority_oid))
        if order.accession and not order.accession.issuer_oid
        else order
        for order in requests
    )


def _values(header: Mapping[str, Any], tag: str) -> list[Any]:
    values = header.get(tag, {}).get("Value", [])
    return list(values) if isinstance(values, list) else []


def _text(header: Mapping[str, Any], tag: str) -> str:
    return next((item for item in _values(header, tag) if isinstance(item, str)), "")


def _items(header: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    return [item for item in _values(header, tag) if isinstance(item, dict)]


def _code(item: Mapping[str, Any]) -> Code | None:
    value, designator = _text(item, "00080100"), _text(item, "00080102")
    return Code(value, CODING_SCHEMES.get(designator, designator), _text(item, "00080104")) if value and designator else None
