#!/bin/bash
# Merges the adapter of a run into its base. TEMPLATE: chatglm3, qwen or baichuan2.
set -e
plugtune export \
  --model_name_or_path "${MODEL:-/root/.cache/modelscope/hub/chatglm3-6b}" \
  --adapter_name_or_path "${ADAPTER:-dist_chatglm3_lora_checkpoint}" \
  --template "${TEMPLATE:-chatglm3}" \
  --finetuning_type lora \
  --export_dir "${MERGED:-chatglm3_6b_lora}" \
  --export_size 2 \
  --export_legacy_format False
