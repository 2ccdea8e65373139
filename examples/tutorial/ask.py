"""Asks a merged model the tutorial's three questions, with transformers alone: python ask.py FOLDER [MAX_NEW_TOKENS]"""

import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = ("你好，请你介绍一下你自己", "保持健康的三个提示。", "什么是三原色")

folder, longest = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 256
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, device_map="auto")
print(f"{type(model).__name__} and {type(tokenizer).__name__}, plugtune loaded: {'plugtune' in sys.modules}")
for question in QUESTIONS:
    messages = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs.to(model.device), max_new_tokens=longest, do_sample=False)
    print(f"Q: {question}")
    print(f"A: {tokenizer.decode(answer[0, inputs['input_ids'].shape[1] :], skip_special_tokens=True).strip()}")
