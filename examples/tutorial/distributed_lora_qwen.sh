#!/bin/bash
# Qwen (first generation) on all devices: LoRA on instructions.
# MODEL: folder of the original checkpoint, or a name (plugtune list models). The data set is looked for in ./data.
# Add --stage pt or --stage rm for pre-training or a reward model; without --quantization_bit it is LoRA, not QLoRA.
set -e
MODEL="${MODEL:-/root/.cache/modelscope/hub/qwen/Qwen-1_8B-Chat}"
export CUDA_DEVICE_MAX_CONNECTIONS=1
export NCCL_P2P_DISABLE="1"
export NCCL_IB_DISABLE="1"

# `accelerate config` says once how many devices there are; torchrun --nproc_per_node N does as well.
${LAUNCH:-accelerate launch} -m plugtune train \
  --report_to "tensorboard" \
  --logging_dir dist_qwen_lora \
  --do_train \
  --model_name_or_path "$MODEL" \
  --dataset alpaca_gpt4_zh \
  --template qwen \
  --lora_target all \
  --output_dir dist_qwen_lora_checkpoint \
  --overwrite_cache \
  --per_device_train_batch_size 1 \
  --gradient_accumulation_steps 1 \
  --lr_scheduler_type cosine \
  --logging_steps 10 \
  --save_steps 200 \
  --learning_rate 5e-5 \
  --num_train_epochs 3.0 \
  --plot_loss \
  --fp16 \
  --lora_rank 8 \

