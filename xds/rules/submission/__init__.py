"""The rules of a submission: what the message alone must keep to, and what it must keep to beside what is registered already.

Spec: ITI TF-2 3.41.4.1.3, 3.42.4.1.3, 3.61.4.1.3; ITI TF-3 4.2.
"""

from xds.rules.submission.identifiers import assign_identifiers
from xds.rules.submission.message import check
from xds.rules.submission.registered import check_against_registry

__all__ = ["assign_identifiers", "check", "check_against_registry"]
