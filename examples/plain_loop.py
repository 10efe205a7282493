"""ROSE without a Trainer: SelectiveAdamW and Rose in a plain PyTorch loop.

python examples/plain_loop.py
"""

import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from rosetune import CrossEntropy, Rose, SelectiveAdamW
from rosetune.data.embedded import embedded_model_path
from rosetune.data.sources import load_task


def train(model: torch.nn.Module, batches: DataLoader, lr: float = 1e-4) -> torch.nn.Module:
    """One epoch of ROSE-Ensemble."""
    objective, rose = CrossEntropy(), Rose(order="ensemble", upper=0.6)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=lr, weight_decay=0.01, update_mask=rose)
    model.train()
    for batch in batches:
        out = objective(model, batch, consistency=True)  # both dropout passes in one forward
        rose.observe(optimizer, consistency=out.consistency)  # ranks the tensors; leaves .grad alone
        out.loss.backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model


def main() -> None:
    """MiniLM on 640 Rotten Tomatoes sentences, both from the extra [demo]."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_path())
    model = AutoModelForSequenceClassification.from_pretrained(embedded_model_path(), num_labels=2)
    rows = load_task("demo").splits["train"].select(range(640))
    encoded = [{**tokenizer(row["sentence"]), "labels": row["label"]} for row in rows]
    collate = DataCollatorWithPadding(tokenizer)
    model = train(model, DataLoader(encoded, batch_size=32, shuffle=True, collate_fn=collate))
    inputs = tokenizer("a gorgeous , witty , seductive movie .", return_tensors="pt")
    print(model.eval()(**inputs).logits.softmax(-1))


if __name__ == "__main__":
    main()
