"""What follows documents that move to another patient. Spec: ITI TF-2 3.64.4.1.3."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from xds.model.fragments import ObjectKind
from xds.model.known import KnownAssociation, KnownObject
from xds.model.vocabulary import AssociationType, AvailabilityStatus
from xds.rules.link_change import Following, following

APPROVED, DEPRECATED = AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED
OLD_PATIENT, NEW_PATIENT = 1, 2
HAS_MEMBER, APND = AssociationType.HAS_MEMBER, AssociationType.APND


def document(name: str, patient: int = OLD_PATIENT, **attributes: object) -> KnownObject:
    return KnownObject(ObjectKind.DOCUMENT_ENTRY, name, APPROVED, patient, **attributes)  # type: ignore[arg-type]


def folder(name: str, status: AvailabilityStatus = APPROVED, patient: int = OLD_PATIENT) -> KnownObject:
    return KnownObject(ObjectKind.FOLDER, name, status, patient)


def link(kind: str, source: KnownObject, target: KnownObject) -> KnownAssociation:
    return KnownAssociation(f"{source.id}-{target.id}", kind, APPROVED, source, target)


A, B = document("A"), document("B")
F = folder("F")
PACKAGE = KnownObject(ObjectKind.SUBMISSION_SET, "S", APPROVED, OLD_PATIENT)


def follow(
    *links: KnownAssociation, moving: Collection[str] = ("A",), undivided: Collection[str] = (), references: Collection[str] = ()
) -> Following:
    return following(moving, links, undivided, references, NEW_PATIENT)


def test_an_undivided_folder_moves_with_its_members() -> None:
    inside = (link(HAS_MEMBER, F, A), link(HAS_MEMBER, F, B))
    assert follow(*inside, moving=("A", "B"), undivided=("F",)) == Following((F,), inside, ())


def test_a_divided_folder_stays() -> None:
    assert follow(link(HAS_MEMBER, F, A)) == Following((), (), ())


def test_a_folder_that_is_deprecated_stays() -> None:
    assert follow(link(HAS_MEMBER, folder("F", DEPRECATED), A), undivided=("F",)) == Following((), (), ())


def test_a_folder_of_the_patient_keeps_its_members() -> None:
    inside = link(HAS_MEMBER, folder("F", patient=NEW_PATIENT), document("A", NEW_PATIENT))
    assert follow(inside) == Following((), (inside,), ())


@pytest.mark.parametrize("kind", [APND, AssociationType.XFRM, AssociationType.SIGNS, AssociationType.IS_SNAPSHOT_OF])
def test_relationships_follow_when_both_ends_are_together(kind: str) -> None:
    both = link(kind, A, B)
    assert follow(both, moving=("A", "B")).carried == (both,)
    assert follow(both).carried == ()
    there = link(kind, A, document("C", NEW_PATIENT))
    assert follow(there).carried == (there,)
    assert follow(link(kind, A, document("C", NEW_PATIENT, superseded=True))).carried == ()


@pytest.mark.parametrize("kind", [AssociationType.RPLC, AssociationType.XFRM_RPLC])
def test_replacements_do_not_follow(kind: str) -> None:
    assert follow(link(kind, A, B), moving=("A", "B")).carried == ()


def test_references_of_submission_sets_are_led_on() -> None:
    mention, submitted = link(HAS_MEMBER, PACKAGE, A), link(HAS_MEMBER, PACKAGE, B)
    found = follow(mention, submitted, moving=("A", "B"), references=(mention.id,))
    assert found == Following((), (), (mention,))
