"""Registry objects as ebRIM 3.0: DocumentEntry, SubmissionSet, Folder and Association on the wire and in the store.

Reading goes once over the tree; writing joins strings. What is written is always valid ebRIM in one canonical form, because the
Registry stores it as it is and answers queries by joining it.

Tolerated deviations, when reading:

| received | read as |
|---|---|
| a code or identifier in the list beside its object | put inside the object that it names, and reported of a submission |
| `rim:ObjectRef` in the list of submitted objects | ignored |
| Name or Description without a LocalizedString | absent |
| Classification without `nodeRepresentation` | empty text |
| `status` that is neither Approved nor Deprecated | absent (the Registry decides it) |
| empty `home` | absent |
| `versionName` that is not a number | absent |
| white space around the text of a Value | dropped |
| white space around an attribute of type xs:anyURI, such as ids and types | dropped, as XML Schema says (whiteSpace collapse) |
| other `objectType` of packages, associations, classifications and identifiers | written as the standard's |

Spec: ITI TF-3 4.2.1.2, 4.2.3.1; ebRIM 3.0.
"""

from xds.wire.ebrim.reading import read_objects, read_submission
from xds.wire.ebrim.stored import read_fragments, read_stored, with_last_update_time, with_patient_id
from xds.wire.ebrim.writing import complete, escape, kind_of, parts_of, start_tag, write_object, write_submission

__all__ = [
    "complete",
    "escape",
    "kind_of",
    "parts_of",
    "read_fragments",
    "read_objects",
    "read_stored",
    "read_submission",
    "start_tag",
    "with_last_update_time",
    "with_patient_id",
    "write_object",
    "write_submission",
]
