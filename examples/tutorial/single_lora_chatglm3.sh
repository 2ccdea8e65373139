#!/bin/bash
# ChatGLM3 on one device: QLoRA on instructions.
# MODEL: folder of the original checkpoint, or a name (plugtune list models). The data set is looked for in ./data.
# Add --stage pt or --stage rm for pre-training or a reward model; without --quantization_bit it is LoRA, not QLoRA.
set -e
MODEL="${MODEL:-/root/.cache/modelscope/hub/chatglm3-6b}"
export CUDA_DEVICE_MAX_CONNECTIONS=1
export NCCL_P2P_DISABLE="1"
export NCCL_IB_DISABLE="1"

CUDA_VISIBLE_DEVICES=0 plugtune train \
  --report_to "tensorboard" \
  --logging_dir single_lora_chatglm3_log \
  --stage sft \
  --do_train True \
  --model_name_or_path "$MODEL" \
  --dataset alpaca_gpt4_zh \
  --template chatglm3 \
  --lora_target query_key_value  \
  --output_dir single_lora_chatglm3_checkpoint \
  --overwrite_cache \
  --per_device_train_batch_size 4 \
  --gradient_accumulation_steps 8 \
  --lr_scheduler_type cosine \
  --logging_steps 5 \
  --save_steps 100 \
  --learning_rate 5e-5 \
  --num_train_epochs 1.0 \
  --finetuning_type lora \
  --fp16 \
  --lora_rank 8 \
  --quantization_bit 4
