"""The tokenizer that a GGUF file carries, by the `tokenizers` library: byte-level BPE."""

from dataclasses import dataclass
from typing import Any

from quantization.gguf.header import BadModel, Header

MAX_CHARACTERS = 2**16
"""Of one text. A row of data is far shorter; a line of a megabyte is a mistake."""

_CONTROL, _USER = 3, 4
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRETOKENIZERS = ("smollm", "gpt-2", "llama-bpe")
"""How text is cut before BPE, by GGUF's names."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text to token numbers."""

    tokenizer: Any
    begin: tuple[int, ...]
    """The token every text begins with, if the model wants one."""

    def encode(self, text: str, *, begin: bool = True) -> list[int]:
        """Token numbers of a text; special tokens written in it count as such."""
        if len(text) > MAX_CHARACTERS:
            raise BadModel(f"a text of {len(text)} characters; at most {MAX_CHARACTERS} are read")
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*(self.begin if begin else ()), *ids]

    def single(self, word: str) -> int:
        """The one token that a label's word is. Raises BadModel where it takes several."""
        ids = self.encode(word, begin=False)
        if len(ids) != 1:
            raise BadModel(
                f"the label word {word!r} is {len(ids)} tokens; take one that is a single token,"
                " mostly a short common word after a space, such as ' yes'"
            )
        return ids[0]

    def decode(self, ids: list[int]) -> str:
        """The text that token numbers stand for."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text


def tokens_of(header: Header) -> Tokens:
    """The tokenizer of a header that was read with its lists. Raises BadModel for other kinds."""
    from tokenizers import AddedToken, Tokenizer, decoders, models  # noqa: PLC0415 - extra [adapter]

    said = header.metadata
    kind, before = said.get("tokenizer.ggml.model"), said.get("tokenizer.ggml.pre")
    if kind != "gpt2" or before not in PRETOKENIZERS:
        raise BadModel(
            f"its tokenizer is {kind!r} cut as {before!r}; 'gpt2' cut as one of"
            f" {', '.join(PRETOKENIZERS)} is read"
        )
    words = _texts(header, "tokens")
    pairs = [merge.partition(" ") for merge in _texts(header, "merges")]
    if any(not left or not right or " " in right for left, _, right in pairs):
        raise BadModel("a merge of its tokenizer does not join two pieces")
    merges = [(left, right) for left, _, right in pairs]
    try:
        made = Tokenizer(models.BPE({w: k for k, w in enumerate(words)}, merges))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise BadModel(f"its tokenizer is damaged: {error}") from None
    made.pre_tokenizer = _cut(str(before))
    made.decoder = decoders.ByteLevel()
    kinds = said.get("tokenizer.ggml.token_type")
    if not isinstance(kinds, list) or len(kinds) != len(words):
        raise BadModel("its tokenizer does not say of what type each token is")
    for special in (True, False):
        wanted = _CONTROL if special else _USER
        added = [
            AddedToken(word, special=special, normalized=False)
            for word, kind_of in zip(words, kinds, strict=True)
            if kind_of == wanted
        ]
        (made.add_special_tokens if special else made.add_tokens)(added)
    return Tokens(made, _begin(header, len(words)))


def _cut(before: str) -> Any:
    from tokenizers import Regex, pre_tokenizers  # noqa: PLC0415

    if before == "llama-bpe":
        steps = [
            pre_tokenizers.Split(Regex(_LLAMA3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    else:
        steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
        if before == "smollm":
            steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(steps)


def _texts(header: Header, name: str) -> list[str]:
    found = header.metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        raise BadModel(f"its tokenizer has no {name}")
    return [str(text) for text in found]


def _begin(header: Header, vocabulary: int) -> tuple[int, ...]:
    if not header.metadata.get("tokenizer.ggml.add_bos_token", False):
        return ()
    token = header.metadata.get("tokenizer.ggml.bos_token_id")
    if not isinstance(token, int) or not 0 <= token < vocabulary:
        raise BadModel(f"its first token is {token!r}")
    return (token,)
