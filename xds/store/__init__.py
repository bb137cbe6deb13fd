"""SQLAlchemy Core and blobs; returns model objects, never rows."""
