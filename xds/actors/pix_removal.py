"""A patient whom her source removed: nothing refers to that identifier any more.

A record that has no other identifier left is erased with it. Whoever was one person with her keeps the identifier of the affinity
domain under which their documents stand; in the registry nothing changes, because documents are not the source's to remove.

Spec: PIXm 2:3.104.4.3 (Remove Patient).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from xds.actors.pix_description import NO_ENTRIES, DescribingTransaction, RefusedError
from xds.actors.pix_linking import counted_record
from xds.actors.pix_preparation import PreparedFeed, terms_of
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.rules import linkage
from xds.rules.demographics_index import entries, sound_codes
from xds.rules.linkage import Traits
from xds.store import demographics_index, patients_removal
from xds.store.patients import Identity


class RemovingTransaction(DescribingTransaction):
    """Applies the removal of a patient, too."""

    def _remove(self, prepared: PreparedFeed) -> None:
        """Errors: RefusedError for an identifier that nobody has, or that a state issued."""
        (identifier,) = prepared.feed.identifiers
        if linkage.is_national(identifier):
            text = "an identifier that a state issues is no source's to remove: revise the patient"
            raise RefusedError([IdentityProblem(IdentityProblemKind.INVALID, "identifiers", text)])
        found = self._patients.identity(self._domain_key(identifier.authority), identifier.value)
        if found is None:
            text = "nobody has this identifier"
            raise RefusedError([IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, "identifiers", text)])
        (members,) = self._patients.clusters_around((found.person_key,)).values()
        self._clusters.touch(members)
        removed = self._with_subsumed(found, self._patients.identities(members))
        for item in removed:
            patients_removal.forget(self._patients, item)
        records = dict.fromkeys(item.person_key for item in removed)
        erased = [key for key in records if not self._has_own(key)]
        rest = [key for key in members if key not in erased]
        if rest:
            # The key of the person may have been that of a record which goes.
            self._patients.set_cluster(rest, min(rest))
        for key in erased:
            self._erase(key, rest)
        if rest:
            self._clusters.regroup(rest)
            for key in rest:
                # What they have in common may have been the erased record alone.
                self._linker.relink(key)
            self.effects.changed += rest

    def _with_subsumed(self, found: Identity, identities: Sequence[Identity]) -> list[Identity]:
        """The identifier, and those that merges of its source put it in the place of."""
        removed = [found]
        for one in removed:
            removed += [
                item
                for item in identities
                if item.domain_key == one.domain_key and item.subsumed_by == one.value and item not in removed
            ]
        return removed

    def _erase(self, person: int, rest: Collection[int]) -> None:
        """Erase a record, of whose person `rest` is what is left: its oldest record inherits what was assigned here."""
        connection = self._patients.connection
        if rest:
            for item in self._patients.identities((person,)):
                if item.assigned:
                    patients_removal.hand_over(self._patients, item, min(rest))
        statements = self._patients.statements((person,)).get(person, ())
        demographics = [item.stated().demographics for item in statements]
        demographics_index.replace(connection, person, entries(demographics), NO_ENTRIES, sound_codes)
        demographics_index.put_visit(connection, person, {}, self._clusters.now)
        traits = [Traits.unpack(item.traits) for item in statements]
        self._patients.remove_keys(person, sorted({key for item in traits for key in linkage.blocking_keys(item)}))
        patients_removal.erase(self._patients, person)
        self.effects.uncounted += [counted_record(), *(term for item in traits for term in terms_of(item))]
