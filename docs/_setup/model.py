"""What the pages take for granted: a small model and tokenizer under a hub's name, texts and labels."""

import random

from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from helpers import make_model

_letters = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-"
_special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _special, strict=True))
_pieces = [*_special, *_letters, *(f"##{letter}" for letter in _letters)]
_tokens = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(_pieces)}, unk_token="[UNK]"))
_tokens.normalizer = normalizers.Lowercase()
_tokens.pre_tokenizer = pre_tokenizers.Whitespace()
_tokens.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokens, model_max_length=128, **_names)
model = make_model("roberta", vocab_size=len(_pieces), max_position_embeddings=140)
tokenizer.save_pretrained("FacebookAI/roberta-base")
model.base_model.save_pretrained("FacebookAI/roberta-base")

_random = random.Random(0)
_good, _bad = ("fine", "great", "lovely", "warm"), ("awful", "boring", "dull", "stale")
_plain = ("the", "film", "plot", "scene", "was", "rather", "quite", "music")


def _text(label: str) -> str:
    words = [*_random.sample(_plain, 6), _random.choice(_good if label == "good" else _bad)]
    return " ".join(_random.sample(words, len(words)))


labels = ["good", "bad"] * 60
texts = [_text(label) for label in labels]
tokenized = Dataset.from_dict({**tokenizer(texts), "labels": [int(label == "good") for label in labels]})
