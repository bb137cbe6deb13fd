"""Whose study it is: as the images say, under which issuer, and in the affinity domain.

Spec: ITI TF-2 Appendix E.1 (assigning authorities); PS3.3 C.7.1.1 (issuer of patient ID).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import Study, StudyPatient
from xds.model.patient import Demographics, PersonName


class AffinityIdentifiers(Protocol):
    """What is needed of the PIX Manager."""

    def affinity_identifier(self, identifier: PatientIdentifier) -> PatientIdentifier | None:
        """The identifier of the affinity domain that is linked to a local one."""

    def authority(self, namespace: str) -> AssigningAuthority | None:
        """The assigning authority of that namespace, as configuration and feeds told of it."""

    def issuer_of(self, value: str, demographics: Demographics) -> AssigningAuthority | None:
        """Who issued a bare identifier, when the demographics beside it leave no doubt."""


class SourcePatients:
    """Whose study it is: as the images say, and in the affinity domain."""

    def __init__(
        self,
        pix: AffinityIdentifiers,
        domain: AssigningAuthority,
        authorities: Mapping[str, AssigningAuthority],
        default_authority: AssigningAuthority | None,
    ) -> None:
        """`domain` is the affinity domain's authority; the others as `ImagingDocumentSource` takes them."""
        self._pix = pix
        self._domain = domain
        self._authorities = authorities
        self._default_authority = default_authority

    def source(self, study: Study) -> PatientIdentifier | None:
        """The patient as the images name her, under the issuer that they state or that their sender is configured to have."""
        if not study.patient.patient_id:
            return None
        patient = self.with_issuer(study)
        return PatientIdentifier(patient.patient_id, AssigningAuthority(patient.issuer_namespace, patient.issuer_oid))

    def source_cx(self, study: Study) -> str:
        """The same as CX; empty when the images name nobody."""
        identifier = self.source(study)
        return identifier.to_cx() if identifier else ""

    def with_issuer(self, study: Study) -> StudyPatient:
        """The patient of the images with an issuer.

        The number of one authority must never be taken for that of another: images that name a namespace have its issuer, or
        none when nobody knows it. The sender's configured authority counts unless it is known under another namespace.
        Without either, the demographics beside the number must leave no doubt whose it is.
        """
        patient = study.patient
        if patient.issuer_oid:
            return patient
        namespace = patient.issuer_namespace
        configured = self._authorities.get(study.source)
        if configured is not None and configured.namespace in (None, namespace or configured.namespace):
            authority = configured
        elif namespace:
            known = (*self._authorities.values(), self._default_authority, self._domain)
            named = next((item for item in known if item and item.namespace == namespace), None)
            authority = named or self._pix.authority(namespace) or AssigningAuthority(namespace)
        else:
            stated = configured or self._default_authority
            authority = stated or self._pix.issuer_of(patient.patient_id, _demographics(patient)) or AssigningAuthority()
        return replace(patient, issuer_oid=authority.oid, issuer_namespace=namespace or authority.namespace)

    def affinity(self, study: Study) -> PatientIdentifier | None:
        """The patient's identifier in the affinity domain; None when nobody has linked one."""
        identifier = self.source(study)
        if identifier is None:
            return None
        found = self._pix.affinity_identifier(identifier)
        if found is None and identifier.authority.oid == self._domain.oid:
            # Images with the affinity domain's own identifier need no cross-reference; the registry knows whether it exists.
            return identifier
        return found

    def same_person(self, one: PatientIdentifier, other: PatientIdentifier) -> bool:
        """True when two identifiers of the affinity domain mean one person: one of them was merged into the other."""
        if one.key == other.key:
            return True
        meant = self._pix.affinity_identifier(one)
        return meant is not None and meant.key == other.key


def _demographics(patient: StudyPatient) -> Demographics:
    """What images state about their patient. The alphabetic group of the name counts (PS3.5 6.2.1)."""
    parts = [*patient.name.partition("=")[0].split("^"), "", ""]
    return Demographics((PersonName(parts[0].strip(), parts[1].strip()),), patient.birth_date or None, patient.sex or None)
