"""A byte-level BPE for tiktoken: a rank file, and the expression that cuts text.

    tokenizer.tiktoken   a line per token: base64 of its bytes, its id
    encoding.json        name, pat_str, special_tokens, n_vocab
    README.md            the lines that make a `tiktoken.Encoding` of them

tiktoken merges any two neighbours that together are a token, the one of the lowest id first. A
`tokenizer.json` merges only the pairs that it lists, in their order. The two are the same when

- the listed merges make tokens in the order of their ids, and
- each token's bytes, merged by ids, end in one token, and the last pair merged is a listed one:
  then, by induction, every merge that tiktoken ever does is a listed one, for what is merged
  inside two neighbours that become a token does not depend on what stands around them.

Both are checked for the whole vocabulary; ids need not start at 0.
"""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

from tokenlab.dataset import Dataset
from tokenlab.errors import InputError
from tokenlab.export.folder import ExportFolder
from tokenlab.export.pre_step import operators_of
from tokenlab.progress import Progress
from tokenlab.segment.byte_level import SPLIT_PATTERNS, TOKENIZER_FILE, ByteLevelSegmenter, byte_characters

RANK_FILE = "tokenizer.tiktoken"
ENCODING_FILE = "encoding.json"


def refuse(dataset: Dataset) -> str:
    """tiktoken is byte-level BPE behind one expression, and nothing else."""
    if not isinstance(dataset.scheme.segmenter, ByteLevelSegmenter):
        return (
            f"tiktoken holds byte-level BPE (`byte-bpe`) alone, and this is scheme {dataset.scheme.spec.name}"
        )
    if operators_of(dataset.scheme):
        return "tiktoken has no place for the scheme's operators"
    return ""


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module. Raises InputError when the merges cannot be expressed as ranks."""
    segmenter = dataset.scheme.segmenter
    content = json.loads(segmenter.files[TOKENIZER_FILE])
    ranks = {row: i for i, row in enumerate(segmenter.token_bytes.tobytes()) if row}
    progress.start("ranks", None, "tokens")
    require_ranks(ranks, _merges(content))
    progress.finish()
    specials = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    encoding = {
        "name": dataset.manifest.name,
        "pat_str": split_expression(content),
        "special_tokens": specials,
        "n_vocab": segmenter.vocab_size,
    }
    lines = (f"{base64.b64encode(row).decode()} {rank}\n" for row, rank in ranks.items())
    target.write(RANK_FILE, "".join(lines))
    target.write(ENCODING_FILE, json.dumps(encoding, ensure_ascii=False, indent=1) + "\n")
    target.note(
        f"encode_ordinary gives the scheme's ids; put BOS ({segmenter.bos}) before a document yourself; "
        "encode() raises on text that spells a special"
    )
    target.write("README.md", _readme(dataset, target.notes))


def require_ranks(ranks: dict[bytes, int], merges: list[tuple[bytes, bytes]]) -> None:
    """Raise InputError unless merging by rank is merging by this list; see the module."""
    lacking = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if lacking:
        raise InputError(f"the vocabulary has no token for the byte 0x{lacking[0]:02x}, which tiktoken needs")
    made = [ranks.get(left + right, -1) for left, right in merges]
    for at, (before, after) in enumerate(pairwise(made)):
        if after < before:
            raise InputError(
                f"merge {at + 1} makes id {after} after id {before}: tiktoken merges in order of ids"
            )
    listed = set(merges)
    for token in ranks:
        if len(token) > 1 and (pair := last_pair(token, ranks)) not in listed:
            raise InputError(
                f"tiktoken would make id {ranks[token]} ({token!r}) of {pair}, "
                "which is no merge of the tokenizer.json"
            )


def last_pair(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, ...]:
    """What is left of a token's bytes, merged by rank, before the merge that makes it whole."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        candidates = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not candidates:
            break
        _, at = min(candidates)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return tuple(parts)


def split_expression(content: dict[str, Any]) -> str:
    """The one expression that cuts text into pieces. Raises InputError when there is another way."""
    before = content["pre_tokenizer"]
    steps = before.get("pretokenizers") or [before]
    *splits, last = steps
    if last["type"] == "ByteLevel" and not splits and last.get("use_regex", True):
        return SPLIT_PATTERNS["gpt2"]
    one_split = len(splits) == 1 and splits[0]["type"] == "Split" and last["type"] == "ByteLevel"
    if one_split and not last.get("use_regex", True):
        split = splits[0]
        if split["behavior"] == "Isolated" and not split["invert"] and "Regex" in split["pattern"]:
            return str(split["pattern"]["Regex"])
    raise InputError("its pre-tokenizer is more than one isolating expression, and tiktoken has one pat_str")


def _merges(content: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    unbyte = {character: byte for byte, character in byte_characters().items()}

    def spelled(piece: str) -> bytes:
        return bytes(unbyte[character] for character in piece)

    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in content["model"]["merges"])
    return [(spelled(left), spelled(right)) for left, right in pairs]


def _readme(dataset: Dataset, notes: list[str]) -> str:
    return f"""# {dataset.manifest.name} for tiktoken

Scheme `{dataset.scheme.spec.name}`, fingerprint `{dataset.manifest.scheme.fingerprint}`.

```python
import json
import tiktoken
from tiktoken.load import load_tiktoken_bpe

fields = json.load(open("{ENCODING_FILE}"))
n_vocab = fields.pop("n_vocab")
encoding = tiktoken.Encoding(**fields, mergeable_ranks=load_tiktoken_bpe("{RANK_FILE}"))
ids = encoding.encode_ordinary("The NASA paper")
```

""" + "".join(f"- {note}\n" for note in notes)
