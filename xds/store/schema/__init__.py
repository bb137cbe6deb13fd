"""The tables of the affinity domain, on one `MetaData`. Importing a submodule defines its tables.

Every table that holds data of patients begins its primary key with `patient_key`, so that a query stays inside one partition.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import BigInteger, Integer, MetaData

#: Every constraint has a name, the one that PostgreSQL would give it, so that a later version can change it on both databases.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "pk": "%(table_name)s_pkey",
    }
)

#: Keys have 64 bits everywhere; SQLite numbers rows by itself only in a column that is called INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")

#: Text of any length, compared and sorted by code point on both databases, whatever language the server speaks.
Text = sqlalchemy.Text().with_variant(sqlalchemy.Text(collation="C"), "postgresql")
