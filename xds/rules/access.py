"""Access rules: who may read what. Spec: ITI TF-1 9; the decision points of XUA and of consent stand behind one port."""

from __future__ import annotations

from collections.abc import Sequence

from xds.model.caller import Action, Caller, Resource


class AllowAll:
    """Permits everything: the rule of a domain whose only gate is node authentication. Implements `xds.ports.AccessRule`."""

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        """One verdict for each resource, in their order."""
        return (True,) * len(resources)
