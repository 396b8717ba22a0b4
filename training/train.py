"""From source text to weights: `python -m training.train`.

Writes a folder that transformers loads: the tokenizer, the weights in bf16, log.jsonl with the
losses. A run that was cut off goes on from its last state when the same command is given again.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from training import corpus
from training.dialogues import Dialogues
from training.sequences import NOT_LEARNED, WINDOW, Sequences
from training.tokenizer import END, Encoder, Tokenizer, save_tokenizer, train_tokenizer

SHARD_SIZE = "9MB"  # hubs ask for other means of storage above ten


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("build/tech-assistant-7m"))
    add("--docs", type=Path, default=corpus.DOCS, help="the documentation's .rst sources")
    add("--stdlib", type=Path, default=corpus.STDLIB, help="the standard library's source")
    add("--steps", type=int, default=2700)
    add("--warmup", type=int, default=60)
    add("--lr", type=float, default=1.5e-3, help="at the top of the cosine")
    add("--layers", type=int, default=6)
    add("--width", type=int, default=256)
    add("--vocabulary", type=int, default=4096)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2)
    add("--save-every", type=int, default=100)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def new_model(args):
    """StarCoder in small; dropout is off, since no text is seen often enough to need it."""
    config = GPTBigCodeConfig(
        vocab_size=args.vocabulary,
        n_positions=WINDOW,
        n_embd=args.width,
        n_layer=args.layers,
        n_head=args.width // 64,
        n_inner=4 * args.width,
        activation_function="gelu_pytorch_tanh",
        multi_query=True,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=END,
        eos_token_id=END,
    )
    model = GPTBigCodeForCausalLM(config)
    with torch.no_grad():
        model.transformer.wpe.weight += waves(WINDOW, args.width)
    return model


def waves(positions, width, scale=0.03):
    """Sines and cosines that position embeddings start with, (positions, width).

    Out of random numbers alone each of 8,192 positions would have to learn for itself which one is
    the next; with waves that step is the same everywhere, so that rare positions learn from common
    ones (arXiv:1706.03762, 3.5). scale: standard deviation; the random part has 0.02.
    """
    steps = torch.arange(positions)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return scale * math.sqrt(2) * torch.stack((steps.sin(), steps.cos()), dim=2).flatten(1)


def optimizer_for(model, lr):
    """AdamW; weight decay on matrices alone, not on embeddings, norms and biases."""
    decayed = [
        p for n, p in model.named_parameters() if p.dim() == 2 and "wte" not in n and "wpe" not in n
    ]
    chosen = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)


def rate(step, args):
    """Linear warm-up, then half a cosine down to a fiftieth."""
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    done = (step - args.warmup) / max(1, args.steps - args.warmup)
    return args.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def loss_of(model, ids, positions, labels):
    """Mean cross-entropy in nats of the learned tokens; logits are made for those alone."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        hidden = model.transformer(ids, position_ids=positions, use_cache=False).last_hidden_state
        learned = labels != NOT_LEARNED
        logits = model.lm_head(hidden[learned])
    return cross_entropy(logits.float(), labels[learned])


@torch.no_grad()
def held_out_loss(model, encoder, documents, device, tokens=1024):
    """Mean loss in nats per token over the first `tokens` of each held-out document."""
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor([encoder.plain(document.text[: 6 * tokens])[:tokens]], device=device)
        ids, labels = ids[:, :-1], ids[:, 1:]
        positions = torch.arange(ids.shape[1], device=device)[None]
        total += loss_of(model, ids, positions, labels).item() * labels.numel()
        count += labels.numel()
    return total / count


def save(model, out):
    """The weights in bf16 and the configuration, as transformers reads them."""
    copy = GPTBigCodeForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.generation_config.bos_token_id = copy.generation_config.eos_token_id = END
    copy.save_pretrained(out, max_shard_size=SHARD_SIZE)


def main(argv=None):
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    documents = corpus.documents(args.docs, args.stdlib)
    trained = [d for d in documents if not d.held_out]
    held_out = [d for d in documents if d.held_out]
    if not (args.out / "tokenizer.json").exists():
        save_tokenizer(train_tokenizer((d.text for d in trained), args.vocabulary), args.out)
    encoder = Encoder(Tokenizer.from_file(str(args.out / "tokenizer.json")))
    dialogues = Dialogues(corpus.facts(args.docs))
    sequences = Sequences(encoder, trained, dialogues, seed=args.seed)
    model = new_model(args).to(args.device)
    optimizer = optimizer_for(model, args.lr)
    state_file, log_file = args.out / "state.pt", args.out / "log.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=args.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    size = sum(p.numel() for p in model.parameters())
    print(f"{size:,} parameters, {len(dialogues.topics)} topics, {len(trained)} documents")
    model.train()
    began = time.monotonic()
    for step in (bar := tqdm(range(first, args.steps), initial=first, total=args.steps)):
        kind, *arrays = sequences.batch(step)
        ids, positions, labels = (torch.from_numpy(a).to(args.device) for a in arrays)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args)
        loss = loss_of(model, ids, positions, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        entry = {"step": step, "kind": kind, "loss": round(loss.item(), 4), "tokens": ids.numel()}
        bar.set_postfix(kind=kind, loss=entry["loss"])
        last = step + 1 == args.steps
        if (step + 1) % args.save_every == 0 or last:
            entry["held_out"] = round(held_out_loss(model, encoder, held_out, args.device), 4)
            entry["seconds"] = round(time.monotonic() - began)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": step + 1}, state_file.with_suffix(".new"))
            state_file.with_suffix(".new").replace(state_file)
            save(model, args.out)
        with log_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
