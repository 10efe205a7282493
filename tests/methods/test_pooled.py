"""The pooled state: what enters the last layer, of every architecture and under peft."""

import copy

import pytest
import torch
from torch import nn
from transformers import AutoModelForTokenClassification
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES, make_batch
from rosetune.methods._pooled import changed_pooling, final_layer, forward_pooled

POOLED = [name for name in ARCHITECTURES if name != "gpt2"]


def features(**kwargs):
    return {name: x for name, x in make_batch(**kwargs).items() if name != "labels"}


@pytest.mark.parametrize("num_labels", [1, 2, 3, 32])  # the models are 32 wide
@pytest.mark.parametrize("architecture", POOLED)
def test_the_last_layer_turns_pooled_states_into_logits(tiny_model, architecture, num_labels):
    model, inputs = tiny_model(architecture, num_labels=num_labels).eval(), features()
    outputs, states = forward_pooled(model, inputs)
    layer = final_layer(model)
    assert layer.weight is list(model.parameters())[-2]
    torch.testing.assert_close(outputs.logits, states @ layer.weight.T + layer.bias)
    torch.testing.assert_close(outputs.logits, model(**inputs).logits, rtol=0, atol=0)
    assert states.shape == (8, 32)


@pytest.mark.parametrize("architecture", POOLED)
def test_a_change_replaces_them(tiny_model, architecture):
    model, inputs = tiny_model(architecture).eval(), features()
    layer, states = final_layer(model), forward_pooled(model, inputs)[1].detach()
    outputs, changed = forward_pooled(model, inputs, lambda u: 2 * u.flip(0))
    torch.testing.assert_close(changed.detach(), 2 * states.flip(0))
    torch.testing.assert_close(outputs.logits, 2 * states.flip(0) @ layer.weight.T + layer.bias)
    outputs.logits.sum().backward()
    assert next(model.parameters()).grad.any()  # the word embeddings
    torch.testing.assert_close(forward_pooled(model, inputs)[1], states)


def test_the_change_ends_with_its_context_even_where_that_fails(tiny_model):
    model, inputs = tiny_model().eval(), features()
    plain = model(**inputs).logits
    with changed_pooling(model, lambda u: 0 * u):
        for _ in range(2):
            torch.testing.assert_close(model(**inputs).logits, final_layer(model).bias.expand(8, 2))
    assert torch.equal(model(**inputs).logits, plain)
    with pytest.raises(RuntimeError):
        forward_pooled(model, inputs, lambda u: u[:, :3])
    assert torch.equal(model(**inputs).logits, plain)


@pytest.mark.parametrize("targets", [["query", "value"], ["query", "out_proj"], ["query", "dense", "out_proj"]])
def test_under_lora(tiny_model, targets):
    """The trained copy of the head, and the adapter beside the last layer as well."""
    peft = pytest.importorskip("peft")
    kind = "SEQ_CLS" if "out_proj" not in targets else None
    config = peft.LoraConfig(task_type=kind, r=2, target_modules=targets, init_lora_weights=False)
    model, inputs = peft.get_peft_model(tiny_model("roberta"), config).eval(), features()
    outputs, states = forward_pooled(model, inputs)
    assert states.shape == (8, 32)
    head = model.base_model.model.classifier
    head = head.modules_to_save["default"] if kind else head
    torch.testing.assert_close(head.out_proj(states), outputs.logits)
    assert final_layer(model) is (head.out_proj if kind else head.out_proj.base_layer)
    changed, _ = forward_pooled(model, inputs, lambda u: u.flip(0))
    torch.testing.assert_close(changed.logits, outputs.logits.flip(0))
    assert not torch.allclose(changed.logits, outputs.logits)


def test_a_wrapped_model(tiny_model):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, **kwargs):
            return self.module(**kwargs)

    model = tiny_model().eval()
    torch.testing.assert_close(forward_pooled(Wrapper(model), features())[1], forward_pooled(model, features())[1])


def test_models_without_a_pooled_state(tiny_model):
    with pytest.raises(ValueError, match=r"GPT2ForSequenceClassification has no pooled state.*\(8, 12, 32\)"):
        forward_pooled(tiny_model("gpt2"), features())
    tagger = AutoModelForTokenClassification.from_config(tiny_model().config)
    with pytest.raises(ValueError, match="BertForTokenClassification has no pooled state"):
        forward_pooled(tagger, features())

    class Headless(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = copy.copy(tiny_model().config)
            self.config.num_labels = 5
            self.layer, self.unused = nn.Linear(3, 2), nn.ModuleList()

        def forward(self, inputs_embeds):
            return ModelOutput(logits=self.layer(inputs_embeds))

    model = Headless()
    with pytest.raises(ValueError, match="Headless has no linear layer with 5 outputs"):
        forward_pooled(model, {"inputs_embeds": torch.zeros(2, 3)})
    model.unused.append(nn.Linear(4, 5))
    with pytest.raises(ValueError, match="does not use its last linear layer"):
        forward_pooled(model, {"inputs_embeds": torch.zeros(2, 3)})
