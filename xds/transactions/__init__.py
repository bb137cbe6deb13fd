"""One file for each IHE transaction, and the table of them.

A module of the table has `TRANSACTION`, the record that says what it is, and `respond`, which answers it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from xds.transactions import (
    fhir_capabilities,
    iti08_patient_identity_feed,
    iti09_pix_query,
    iti18_registry_stored_query,
    iti21_patient_demographics_query,
    iti22_patient_demographics_and_visit_query,
    iti30_patient_identity_management,
    iti31_patient_encounter_management,
    iti41_provide_and_register_document_set,
    iti42_register_document_set,
    iti43_retrieve_document_set,
    iti44_patient_identity_feed_v3,
    iti44_patient_identity_merge_v3,
    iti44_patient_identity_revision_v3,
    iti45_pix_v3_query,
    iti47_patient_demographics_query_v3,
    iti47_query_cancellation,
    iti47_query_continuation,
    iti51_multi_patient_stored_query,
    iti57_update_document_set,
    iti61_register_on_demand_document_entry,
    iti62_remove_metadata,
    iti64_notify_xad_pid_link_change,
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti86_remove_documents,
    iti92_restricted_update_document_set,
    iti104_patient_identity_feed_fhir,
    iti119_patient_demographics_match,
    rad55_wado_uri,
    rad69_retrieve_imaging_document_set,
    rad107_wado_rs,
    rad108_store_instances,
    rad129_qido_rs,
)

#: What a server answers, in the order of the framework.
MODULES: Final[tuple[ModuleType, ...]] = (
    iti08_patient_identity_feed,
    iti09_pix_query,
    iti18_registry_stored_query,
    iti21_patient_demographics_query,
    iti22_patient_demographics_and_visit_query,
    iti30_patient_identity_management,
    iti31_patient_encounter_management,
    iti41_provide_and_register_document_set,
    iti42_register_document_set,
    iti43_retrieve_document_set,
    iti44_patient_identity_feed_v3,
    iti44_patient_identity_revision_v3,
    iti44_patient_identity_merge_v3,
    iti45_pix_v3_query,
    iti47_patient_demographics_query_v3,
    iti47_query_continuation,
    iti47_query_cancellation,
    iti51_multi_patient_stored_query,
    iti57_update_document_set,
    iti61_register_on_demand_document_entry,
    iti62_remove_metadata,
    iti64_notify_xad_pid_link_change,
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti86_remove_documents,
    iti92_restricted_update_document_set,
    iti104_patient_identity_feed_fhir,
    iti119_patient_demographics_match,
    rad55_wado_uri,
    rad69_retrieve_imaging_document_set,
    rad107_wado_rs,
    rad108_store_instances,
    rad129_qido_rs,
    fhir_capabilities,
)
