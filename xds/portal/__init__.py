"""Pages for physicians, identity desk and operators, in French and English."""

from xds.portal.identity import identity_blueprint
from xds.portal.pages import create_portal

__all__ = ["create_portal", "identity_blueprint"]
