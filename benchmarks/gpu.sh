#!/bin/bash
# Everything that needs a GPU, in one go; prints tables in Markdown.
#
#     benchmarks/gpu.sh DATA [OUT]
#
# DATA holds cifar10.npz (x_train, y_train, x_test, y_test), OUT is a new folder for the runs. A row that fails
# says so; its output is in OUT/NAME.txt. DEVICE=cpu STEPS=3 MODELS=resnet20 tries the script without a GPU.
set -u
data=$(realpath "$1") out=${2:-gpu_runs} device=${DEVICE:-cuda} steps=${STEPS:-300} models=${MODELS:-resnet20 resnet18}
mkdir -p "$out"
gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
base=(data=npz "data.path=$data/cifar10.npz" data.batch_size=512 augmentation=crop_flip optim=nesterov optim.lr=0.1
    trainer.epochs=3 "trainer.max_steps_per_epoch=$steps" trainer.report=false trainer.pictures=false)
[ "$device" = cpu ] && base+=(data.limit=600 data.batch_size=64)

# train NAME SETTINGS…: one run; prints a row of images per second and peak memory of its last epoch.
train() {
    local name=$1; shift
    if cnntrain "${base[@]}" "trainer.device=$device" "$@" "hydra.run.dir=$out/$name" >"$out/$name.txt" 2>&1; then
        python - "$out/$name" "$*" <<'PYTHON'
import json, pathlib, sys
folder, settings = pathlib.Path(sys.argv[1]), sys.argv[2]
rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
last, summary = [row for row in rows if "val/loss" in row][-1], json.loads((folder / "summary.json").read_text())
print(f"| {settings} | {last['images_per_second']:.0f} | {summary.get('peak_memory_gb', '')} | {last['train/loss']:.4f} |")
PYTHON
    else
        echo "| $* | failed: $(tail -1 "$out/$name.txt") | | |"
    fi
}

# same NAME NAME: whether two runs have the same weights to the bit.
same() {
    python - "$out/$1" "$out/$2" <<'PYTHON'
import sys, torch
one, other = (torch.load(f"{f}/checkpoints/last.pt", weights_only=True)["network"] for f in sys.argv[1:])
far = max((one[name].double() - other[name].double()).abs().max().item() for name in one)
print("equal to the bit" if all(torch.equal(one[name], other[name]) for name in one) else f"differ by {far:.2g}")
PYTHON
}

python -c 'import torch; d = torch.cuda; print(torch.__version__, d.get_device_name() if d.is_available() else "no GPU")'
echo; echo "| training | images/s | peak GB | loss |"; echo "|---|---|---|---|"
for model in $models; do
    train "$model-bf16" "model=$model" trainer.precision=bf16
    train "$model-fp16" "model=$model" trainer.precision=fp16
    train "$model-tf32" "model=$model" trainer.precision=tf32
    train "$model-fp32" "model=$model" trainer.precision=fp32
    train "$model-first" "model=$model" trainer.precision=bf16 trainer.channels_last=false
    train "$model-compile" "model=$model" trainer.precision=bf16 trainer.compile=true
    train "$model-deterministic" "model=$model" trainer.precision=bf16 trainer.deterministic=true
    if [ "$gpus" -gt 1 ] || [ "$device" = cpu ]; then
        train "$model-two" "model=$model" trainer.precision=bf16 trainer.processes=2
    fi
done

echo; echo "| a bare loop beside it | images/s |"; echo "|---|---|"
for model in $models; do
    python -m benchmarks.gpu_bare_loop --data "$data" --model "$model" --device "$device" --steps "$steps"
done

echo; echo "| the same twice | |"; echo "|---|---|"
# resume NAME SETTINGS…: a run that is interrupted in its middle and continued, beside one that is not.
resume() {
    local name=$1; shift
    local run=(cnntrain "${base[@]}" model=resnet20 "trainer.device=$device" "trainer.max_steps_per_epoch=$((steps / 3 + 1))" "$@")
    "${run[@]}" "hydra.run.dir=$out/$name-whole" >"$out/$name-whole.txt" 2>&1
    "${run[@]}" "hydra.run.dir=$out/$name-part" trainer.max_minutes=0.02 >"$out/$name-part.txt" 2>&1
    cnntrain "run=$out/$name-part" trainer.max_minutes=null >>"$out/$name-part.txt" 2>&1
    echo "| $name, continued after trainer.max_minutes=0.02 | $(same "$name-whole" "$name-part") |"
}
resume exact trainer.deterministic=true
[ "$gpus" -gt 1 ] && resume exact-two trainer.deterministic=true trainer.processes=2

echo; echo "| the trained network | |"; echo "|---|---|"
for job in "evaluate" "export" "benchmark" "predict predict.images=$data/cifar10.npz"; do
    name=${job%% *}
    # shellcheck disable=SC2086
    cnntrain job=$job "run=$out/resnet20-bf16" >"$out/$name.txt" 2>&1
    echo "| job=$name | exit code $?: $(tail -1 "$out/$name.txt" | cut -c 1-100) |"
done
