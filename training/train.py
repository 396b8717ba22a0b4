"""From source text to weights: `python -m training.train`.

Writes a folder that transformers loads: the tokenizer, the weights in bf16, log.jsonl with the
losses. A run that was cut off goes on from its last state when the same command is given again.
"""

import argparse
import hashlib
import json
import random
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import GPTBigCodeForCausalLM

from assistant.engine.local.threads import fastest
from training import corpus
from training.dialogues import Dialogues
from training.exercises import exercises
from training.facts import facts
from training.model import half_of, hidden, new_model, states
from training.muon import Muon
from training.sequences import MIXTURE, NOT_LEARNED, QUESTIONS, Sequences
from training.tokenizer import END, Encoder, Tokenizer, save_tokenizer, train_tokenizer
from training.topic_head import TopicHead
from training.topics import BREADTHS

HEAD = "topics.pt"  # what topic_head.py has learned, for a run that begins with this one's weights
SHARD_SIZE = "9MB"  # hubs ask for other means of storage above ten
TOPICS_WEIGHT = 0.5  # of the loss of a batch's topics, against that of its tokens
ASKED = 100_000  # questions out of whose words topics get their directions
TOLD_UNTIL = 0.7  # of the steps: the share of rows that are told their topics falls to 0 by then
FULL_RATE = 0.25  # the share of the steps before the rate goes down


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("build/tech-assistant-7m"))
    add("--docs", type=Path, default=corpus.DOCS, help="the documentation's .rst sources")
    add("--stdlib", type=Path, default=corpus.STDLIB, help="the standard library's source")
    add("--start", type=Path, help="a folder whose tokenizer and weights to begin with")
    add("--breadth", choices=BREADTHS, default="few", help="how much is taught (taught.toml)")
    add("--steps", type=int, default=4300)
    add("--warmup", type=int, default=60)
    add("--lr", type=float, default=3e-3, help="the highest rate")
    add("--told", type=float, default=1.0, help="the share of rows told their topics at first")
    add("--times", type=int, default=1, help="rows of a batch, as a multiple of the mixture's")
    add("--layers", type=int, default=6)
    add("--width", type=int, default=256)
    add("--vocabulary", type=int, default=4096)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2)
    add("--save-every", type=int, default=100)
    add("--workers", type=int, default=0, help="processes that make batches")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def dtype_for(device):
    """Of the matrix products: bfloat16 where they are faster than float32's, which on a CPU takes
    instructions for it."""
    if device.type != "cpu":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.bfloat16, torch.float32):
        rows, weight = torch.ones(1024, 256, dtype=dtype), torch.ones(1024, 256, dtype=dtype)
        product = partial(torch.nn.functional.linear, rows, weight)
        seconds[dtype] = fastest(product, time.thread_time, 3, patience_s=1)
    return min(seconds, key=seconds.get)


def optimizers_for(model, head, lr, dtype):
    """Muon for the layers' matrices, AdamW for embeddings, norms, biases and the head
    that tells topics.

    Muon's steps are scaled to the size of AdamW's (arXiv:2502.16982, 2.2), so one rate serves both.
    """
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and ".h." in n]
    chosen = {id(p) for p in matrices}
    every = *model.parameters(), *head.parameters()
    others = [p for p in every if id(p) not in chosen]
    return [
        Muon(matrices, lr, dtype),
        torch.optim.AdamW(others, lr=lr, weight_decay=0.0, betas=(0.9, 0.98), fused=True),
    ]


def rate(step, args):
    """Linear warm-up, the full rate for a quarter of the steps, then linearly down to a fiftieth.

    Unlike a cosine's, the first quarter does not depend on the number of steps, so that a run can
    be made longer on the way (arXiv:2405.18392).
    """
    warm = min(1.0, (step + 1) / args.warmup)
    left = (args.steps - step) / (args.steps * (1 - FULL_RATE))
    return args.lr * warm * (0.02 + 0.98 * min(1.0, left))


def losses(model, head, batch, dtype, told=0.0):
    """(loss of the learned tokens, loss of the topics) of a batch of sequences.py, mean nats.
    Logits are made for these alone. told: the share of the rows that are told their topics."""
    preamble, ids, positions, labels, topics = batch
    learned = labels != NOT_LEARNED
    with torch.autocast(ids.device.type, dtype, enabled=dtype is not torch.float32):
        tell = partial(head.told, topics=topics, share=told)
        between = states(model, ids, positions, preamble, change=tell)
        topic_loss = head.loss(between[half_of(model)], topics)
        logits = model.lm_head(model.transformer.ln_f(between[-1])[learned])
    return cross_entropy(logits.float(), labels[learned]), topic_loss


def questions_loss(model, head, batch, dtype):
    """Loss of the topics of questions alone, mean nats; only half of the layers are computed."""
    preamble, ids, positions, topics = batch
    with torch.autocast(ids.device.type, dtype, enabled=dtype is not torch.float32):
        return head.loss(states(model, ids, positions, preamble, half_of(model))[-1], topics)


@torch.no_grad()
def held_out_loss(model, encoder, documents, device, dtype, tokens=1024):
    """Mean loss in nats per token over the first `tokens` of each held-out document."""
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor([encoder.plain(document.learned[: 6 * tokens])[:tokens]], device=device)
        ids, labels = ids[:, :-1], ids[:, 1:]
        positions = torch.arange(ids.shape[1], device=device)[None]
        with torch.autocast(ids.device.type, dtype, enabled=dtype is not torch.float32):
            logits = model.lm_head(hidden(model, ids, positions))
        logits = logits.float().flatten(0, 1)
        total += cross_entropy(logits, labels.flatten(), reduction="sum").item()
        count += labels.numel()
    return total / count


def save(model, out):
    """The weights in bf16 and the configuration, as transformers reads them."""
    copy = GPTBigCodeForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.generation_config.bos_token_id = copy.generation_config.eos_token_id = END
    copy.save_pretrained(out, max_shard_size=SHARD_SIZE)


def recipe_of(args, documents, dialogues, preambles, dtype):
    """What a run depends on: {"seed", "times", "breadth", "dtype", "data"}, data a hash."""
    texts = [(document.path, document.learned) for document in documents]
    data = repr((MIXTURE, QUESTIONS, dialogues.data, preambles, texts)).encode()
    chosen = {"seed": args.seed, "times": args.times, "breadth": args.breadth}
    chosen["dtype"] = str(dtype).removeprefix("torch.")
    return {**chosen, "data": hashlib.sha256(data).hexdigest()[:12]}


def texts_of_tokenizer(documents, dialogues, count=20_000):
    """What the tokenizer learns from: the documents, and what people and assistant say."""
    yield from (document.learned for document in documents)
    rng = random.Random("tokenizer")
    for _ in range(count):
        for asked, answer, _ in dialogues.draw(rng):
            yield from (asked, answer)


def main(argv=None):
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    dtype = dtype_for(torch.device(args.device))
    args.out.mkdir(parents=True, exist_ok=True)
    documents = corpus.documents(args.docs, args.stdlib)
    trained = [d for d in documents if not d.held_out]
    held_out = [d for d in documents if d.held_out]
    dialogues = Dialogues(facts(args.docs), exercises(trained), args.breadth)
    file = (args.start or args.out) / "tokenizer.json"
    if not file.exists():
        texts = texts_of_tokenizer(trained, dialogues)
        save_tokenizer(train_tokenizer(texts, args.vocabulary), args.out)
    elif args.start:
        save_tokenizer(Tokenizer.from_file(str(file)), args.out)
    encoder = Encoder(Tokenizer.from_file(str(args.out / "tokenizer.json")))
    state_file, log_file = args.out / "state.pt", args.out / "log.jsonl"
    sequences = Sequences(encoder, trained, dialogues, args.seed, args.times)
    if args.start:
        model = GPTBigCodeForCausalLM.from_pretrained(args.start, dtype=torch.float32)
    else:
        model = new_model(args.layers, args.width, args.vocabulary)
    model = model.to(args.device)
    head = TopicHead(dialogues.number_of, model.config.n_embd).to(args.device)
    if not (state_file.exists() or args.start and head.load(args.start / HEAD, args.device)):
        rng = random.Random(args.seed)
        drawn = [sequences.question(rng) for _ in range(ASKED)]
        by_words = head.begin(drawn, model.config.vocab_size)
        print(f"topics by the words of questions: {by_words:.2f} nats")
    optimizers = optimizers_for(model, head, args.lr, dtype)
    first = 0
    recipe = recipe_of(args, trained, dialogues, sequences.preambles, dtype)
    if state_file.exists():
        state = torch.load(state_file, map_location=args.device, weights_only=True)
        if state["recipe"] != recipe:
            raise SystemExit(
                f"The run in {args.out} saw other data ({state['recipe']}) than this one "
                f"would ({recipe}); begin anew with another --out and --start {args.out}."
            )
        model.load_state_dict(state["model"])
        head.load_state_dict(state["head"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first = state["step"]
    size = sum(p.numel() for p in model.parameters())
    print(f"{size:,} parameters, {len(dialogues.topics)} topics, {len(trained)} documents")
    (args.out / "recipe.json").write_text(json.dumps(recipe) + "\n", "utf-8")
    model.train()
    began = time.monotonic()
    batches = DataLoader(
        sequences, batch_size=None, sampler=range(first, args.steps), num_workers=args.workers
    )
    for step, (kind, *both) in enumerate(tqdm(batches, initial=first, total=args.steps), first):
        batch, questions = (
            [None if part is None else part.to(args.device) for part in parts] for parts in both
        )
        told = max(0.0, args.told * (1 - step / (TOLD_UNTIL * args.steps)))
        told = 1.0 if kind == "answers" else told  # nothing else says which answer it is
        loss, topic_loss = losses(model, head, batch, dtype, told)
        (loss + TOPICS_WEIGHT * topic_loss).backward()  # before the next, to hold one at a time
        questions_topic_loss = questions_loss(model, head, questions, dtype)
        (TOPICS_WEIGHT * questions_topic_loss).backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate(step, args)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        entry = {"step": step, "kind": kind, "loss": round(loss.item(), 4)}
        entry |= {"topic_loss": round(topic_loss.item(), 4), "tokens": batch[1].numel()}
        entry["questions_loss"] = round(questions_topic_loss.item(), 4)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            entry["held_out"] = round(
                held_out_loss(model, encoder, held_out, args.device, dtype), 4
            )
            entry["seconds"] = round(time.monotonic() - began)
            state = {"model": model.state_dict(), "head": head.state_dict()}
            state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
            torch.save(
                {**state, "step": step + 1, "recipe": recipe}, state_file.with_suffix(".new")
            )
            state_file.with_suffix(".new").replace(state_file)
            save(model, args.out)
            head.save(args.out / HEAD)
        with log_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
