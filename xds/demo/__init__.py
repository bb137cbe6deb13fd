"""A small region of synthetic patients: establishments, identities, images and reports, loaded through the wire."""
