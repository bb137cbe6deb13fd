"""One file for each IHE transaction; `xds.transactions.table` lists them.

A module of the table has `TRANSACTION`, the record that says what it is, and `respond`, which answers it.
"""
