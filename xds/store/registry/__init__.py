"""What the Document Registry keeps: registry objects under the patient they belong to.

`writing` stores, `known` tells what a new submission meets, `finding` finds by one criterion, `stored_queries` composes that
into the answers of ITI-18. Functions take a connection of `xds.store.database`; nothing here opens a transaction.
"""
