"""The ablation table: what each stage of training, and each reward, is worth. It drives the other commands."""
