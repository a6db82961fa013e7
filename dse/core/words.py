"""Names of numbers in words, where their own letters do not say it."""

from __future__ import annotations

LABELS = {
    "power_W": "power",
    "tokens_per_s": "tokens",
    "mfu_frac": "share of peak",
    "hottest_W": "hottest operator",
    "hottest_operator_W": "hottest operator",
    "full_load_bf16_W": "full-load BF16",
    "full_load_fp8_W": "full-load FP8",
    "full_load_fp4_W": "full-load FP4",
    "heat_W_per_mm2": "heat",
    "tdp_W": "TDP",
    "supply_V": "supply",
    "die_mm2": "die area",
    "silicon_mm2": "silicon",
    "interposer_mm2": "interposer",
    "package_cost_USD": "package cost",
    "wall_step_s": "step with failures",
    "chip_hour_USD": "chip-hour",
    "cost_per_token_USD": "cost",
    "energy_per_token_J": "energy",
    "carbon_per_token_kg": "carbon",
    "rack_time_per_token_s": "rack time per token",
    "peak_bf16_FLOPps": "peak BF16",
    "peak_fp8_FLOPps": "peak FP8",
    "peak_fp4_FLOPps": "peak FP4",
    "sram_B": "tile SRAM",
    "n_cores": "cores",
    "clock_Hz": "clock",
    "pipeline_depth": "pipeline depth",
    "scratchpad_B": "SRAM/core",
    "vector_lanes": "lanes/core",
    "dma_bandwidth_Bps": "DMA/core",
    "n_stacks": "HBM stacks",
    "hbm_bandwidth_Bps": "HBM bandwidth",
    "hbm_capacity_B": "HBM capacity",
    "scaleup_bandwidth_per_dir_Bps": "scale-up/dir",
    "constant_W": "constant power",
    "static_W_per_stack": "static power",
    "matmul_frac": "products, of peak",
    "narrow_frac": "8-bit products, of peak",
    "attention_frac": "attention, of peak",
    "launch_s": "gap between kernels",
    "exchange_s": "direct exchange",
    "call_s": "serving loop per pass",
}
"""Metric, free number or fact of a calibration to its words."""

CAPITALS = ("bf16", "dma", "dp", "fp4", "fp8", "fp32", "hbm", "hw", "pe", "pue", "simd", "simt", "sram", "tp")
"""Words that people write in capitals."""
