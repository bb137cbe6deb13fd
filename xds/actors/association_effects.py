"""What associations bring about when they are registered: what replaces a document takes its place in folders.

Spec: ITI TF-3 4.2.2.2.3; ITI TF-2 3.42.4.1.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import new_uuid_urn
from xds.model.metadata import Association, Submission
from xds.model.vocabulary import AssociationType, ObjectType
from xds.rules.update import Propagated
from xds.store.database import Connection
from xds.store.registry import writing
from xds.store.registry.known import Located
from xds.wire.ebrim import read_stored

_REPLACING = (AssociationType.RPLC, AssociationType.XFRM_RPLC)


def replacements_of(submission: Submission, located: Mapping[str, Located]) -> list[tuple[str, Located]]:
    """Each entry that replaces a registered one, and that one."""
    return [(item.source, located[item.target]) for item in submission.associations if item.association_type in _REPLACING]


def inherited_folders(
    connection: Connection, submission: Submission, replacements: Iterable[tuple[str, Located]]
) -> list[tuple[str, dict[str, Located]]]:
    """For each replacing entry the folders of what it replaces, once, without those that the submission puts it in itself."""
    members = {(item.source, item.target) for item in submission.associations}
    inherited = []
    for entry, target in replacements:
        places = {
            uuid: place for uuid, place in writing.folders_holding(connection, target).items() if (uuid, entry) not in members
        }
        members |= {(uuid, entry) for uuid in places}
        inherited.append((entry, places))
    return inherited


def memberships(submission: Submission, folders: Iterable[tuple[str, dict[str, Located]]]) -> list[Association]:
    """The HasMembers that put replacing entries into folders, each itself a member of the SubmissionSet.

    Spec: ITI TF-3 4.2.2.2.3.
    """
    created = []
    for entry, places in folders:
        for folder in places:
            member = _has_member(folder, entry)
            created += [member, _has_member(submission.submission_set.id, member.id)]
    return created


def _has_member(source: str, target: str) -> Association:
    return Association(
        new_uuid_urn(),
        ObjectType.ASSOCIATION,
        association_type=AssociationType.HAS_MEMBER.value,
        source=source,
        target=target,
    )


def folders_that_gain(submission: Submission, located: Mapping[str, Located]) -> list[Located]:
    """Folders that were registered before and now get a member."""
    new: set[str] = {folder.id for folder in submission.folders}
    sources = {item.source for item in submission.associations if item.association_type == AssociationType.HAS_MEMBER}
    return [located[uuid] for uuid in sources - new if located[uuid].kind is ObjectKind.FOLDER]


def recreated(item: Propagated, fragments: Mapping[str, Fragment]) -> Association:
    """A registered association between the new versions, with all that was said of it."""
    original = read_stored(fragments[item.original.id])
    if not isinstance(original, Association):
        raise TypeError(f"{item.original.id} is stored as something else than an Association")
    identifier = new_uuid_urn()
    return replace(
        original,
        id=identifier,
        lid=identifier,
        status=None,
        version=1,
        source=item.source,
        target=item.target,
        classifications=tuple(
            replace(part, id=new_uuid_urn(), classified_object=identifier) for part in original.classifications
        ),
    )
