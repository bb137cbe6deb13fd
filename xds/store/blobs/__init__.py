"""Blob stores behind `xds.ports.BlobStore`."""
