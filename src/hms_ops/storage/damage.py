"""What is wrong with bytes on disk that should be a slab, a tile or sketches; readers of many skip and count."""

from hms_ops.errors import StorageError


class BlockDamaged(StorageError):
    """The bytes are not what was written."""


class BlockTooNew(StorageError):
    """Written by a later release of HMS-OPS."""
