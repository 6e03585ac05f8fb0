"""Token shards: the file format of the field, and nothing of tokenlab (numpy and the standard library)."""

from shards.atomic import remove_leftovers, write_atomically
from shards.format import (
    FORMATS,
    HEADER_BYTES,
    ShardError,
    ShardFormat,
    ShardWriter,
    format_for_vocabulary,
    open_shard,
    read_header,
    read_shard,
    shard_name,
    sidecar_name,
    write_shard,
)

__all__ = [
    "FORMATS",
    "HEADER_BYTES",
    "ShardError",
    "ShardFormat",
    "ShardWriter",
    "format_for_vocabulary",
    "open_shard",
    "read_header",
    "read_shard",
    "remove_leftovers",
    "shard_name",
    "sidecar_name",
    "write_atomically",
    "write_shard",
]
