"""What transformers computes with the real model, in float32, by its own reader of GGUF files.

Runs in a process of its own, since two that compute in one disturb each other on a CPU.
"""

from tests.support.smollm2 import FILE


def ask(prompts, texts, new_tokens):
    """(what `generate` writes behind `prompts`, the least distance of its likeliest token's logit
    from the second one's, the log-probabilities of the tokens of `texts`).

    prompts: ids, of one length each, so that they go into one batch without padding. new_tokens: of
    each, past the end of a document as well. texts: ids; the first of each has no probability.
    """
    import torch
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(
        FILE.parent, gguf_file=FILE.name, dtype="float32"
    ).eval()
    module.generation_config.eos_token_id = None
    ids = torch.tensor(prompts)
    told = module.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    likeliest, second = torch.stack(told.logits).topk(2).values.unbind(-1)
    logprobs = []
    with torch.inference_mode():
        for text in texts:
            rows = module(torch.tensor([text])).logits[0, :-1].log_softmax(-1)
            logprobs.append(rows.gather(1, torch.tensor(text)[1:, None]).flatten().tolist())
    written = told.sequences[:, ids.shape[1] :].tolist()
    return written, (likeliest - second).min().item(), logprobs
