"""What a manifest says of a study, before it has a form: the one record from which KOS, MADO and FHIR manifests are written.

Spec: RAD TF-2 4.68.4.1.2.2 (XDS-I.b); IHE RAD MADO 6.X.2 (what a FHIR ImagingStudy needs is the same).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber, Series, Study
from xds.model.metadata import Code


@dataclass(frozen=True, slots=True)
class RetrieveInformation:
    """Where the instances of a manifest are to be had. `url` is the base URI of the WADO-RS service.

    `location_uid` is the repositoryUniqueId of an Imaging Document Source. With `whole_path` the Retrieve URL of a series names
    study and series, too, as the DRIMbox has it.
    """

    ae_title: str
    location_uid: str
    url: str | None = None
    whole_path: bool = False

    def series_url(self, study_instance_uid: str, series_instance_uid: str) -> str | None:
        """Retrieve URL (0008,1190) of a series."""
        if self.url is None or not self.whole_path:
            return self.url
        return f"{self.url}/studies/{study_instance_uid}/series/{series_instance_uid}"


@dataclass(frozen=True, slots=True)
class SeriesDetail:
    """What a described manifest says of a series beyond the study record. Date and time are DICOM's own forms."""

    date: str = ""
    time: str = ""
    target_region: Code | None = None


@dataclass(frozen=True, slots=True)
class KeyObjectDetail:
    """What a described manifest says of a Key Object Selection document among the instances."""

    title: Code
    description: str = ""


@dataclass(frozen=True, slots=True)
class StudyManifest:
    """One manifest. `study` names its patient with issuer; `created` is aware, in the offset that all times of the object share.

    `other_patient_ids` are further identifiers of the patient, also the affinity domain's; `locations` is where instances are to
    be had that another source holds, by the name of that source (`Instance.location`). `series` is by Series Instance UID,
    `key_objects` by SOP Instance UID.
    """

    study: Study
    sop_instance_uid: str
    series_instance_uid: str
    retrieve: RetrieveInformation
    created: datetime
    manufacturer: str = "XDS"
    institution: str = ""
    requests: tuple[ImagingOrder, ...] = ()
    other_patient_ids: tuple[PatientIdentifier, ...] = ()
    locations: Mapping[str, RetrieveInformation] = field(default_factory=dict)
    series: Mapping[str, SeriesDetail] = field(default_factory=dict)
    key_objects: Mapping[str, KeyObjectDetail] = field(default_factory=dict)

    def retrieve_of(self, series: Series) -> RetrieveInformation:
        """Where a series is to be had."""
        return self.locations.get(series.instances[0].location if series.instances else "", self.retrieve)

    @property
    def accession(self) -> OrderNumber:
        """Accession Number (0008,0050): the only one, or none when there are several. Spec: MADO 6.X.2."""
        numbers = {order.accession.value: order.accession for order in self.requests if order.accession}
        return next(iter(numbers.values())) if len(numbers) == 1 else OrderNumber("")


def requests_of(study: Study) -> tuple[ImagingOrder, ...]:
    """The requests of a study, one for each pair of accession number and placer order; those of the images come first.

    What the images name is no request of its own where an order has the same accession number.
    """
    own = OrderNumber(study.accession_number, study.accession_issuer_oid)
    found: dict[tuple[str, str], ImagingOrder] = {}
    if own and all(order.accession.value != own.value for order in study.orders):
        found[own.value, ""] = ImagingOrder(accession=own, study_instance_uid=study.study_instance_uid)
    for order in study.orders:
        accession = order.accession
        if accession.value == own.value and not accession.issuer_oid:
            accession = own
        named = ImagingOrder(
            accession=accession or own,
            placer=order.placer,
            filler=order.filler,
            study_instance_uid=study.study_instance_uid,
            procedure=order.procedure,
            description=order.description,
            state=order.state,
        )
        found.setdefault((named.accession.value, named.placer.value), named)
    return tuple(order for order in found.values() if order.accession or order.placer)


def generated_accession(study_instance_uid: str, issuer_oid: str) -> OrderNumber:
    """The accession number that a creator makes up for a study without one: always the same for the same study.

    Spec: MADO 6.X.2 (Accession Number).
    """
    return OrderNumber("G" + hashlib.sha256(study_instance_uid.encode()).hexdigest()[:15].upper(), issuer_oid)
