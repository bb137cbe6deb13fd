"""The rules of metadata update: ITI-57, and ITI-92, which allows less of it.

`message` judges a request alone, `registered` beside what is registered; `operations` tells which operations it consists of, and
`propagation` which associations follow an object to its new version.

Spec: ITI TF-2 3.57.4.1.3 (XDS Metadata Update), 3.92.4.1.3 (Restricted Metadata Update).
"""

from xds.rules.update.dialect import RESTRICTED, UNRESTRICTED, Dialect
from xds.rules.update.message import check
from xds.rules.update.operations import Operations, operations_of
from xds.rules.update.propagation import Propagated, propagated
from xds.rules.update.registered import check_against_registry

__all__ = [
    "RESTRICTED",
    "UNRESTRICTED",
    "Dialect",
    "Operations",
    "Propagated",
    "check",
    "check_against_registry",
    "operations_of",
    "propagated",
]
