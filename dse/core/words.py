"""Labels of quantities for tables and figures, and aliases for names that users may type."""

from __future__ import annotations

LABELS = {
    "power_W": "power",
    "tokens_per_s": "tokens",
    "mfu_frac": "share of peak",
    "hottest_W": "hottest operator",
    "work_W": "power left to operators",
    "hottest_operator_W": "hottest operator",
    "full_load_W": "full load",
    "full_load_bf16_W": "full-load BF16",
    "full_load_fp8_W": "full-load FP8",
    "full_load_fp4_W": "full-load FP4",
    "heat_W_per_mm2": "heat",
    "tdp_W": "TDP",
    "supply_V": "supply",
    "nominal_V": "nominal supply",
    "minimum_V": "lowest supply",
    "maximum_V": "highest supply",
    "threshold_V": "threshold voltage",
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
    "megawatt_time_per_token_s": "megawatt time per token",
    "rack_scaleup_Bps": "rack's scale-up/dir",
    "rack_scaleout_Bps": "rack's scale-out/dir",
    "peak_bf16_FLOPps": "peak BF16",
    "peak_fp8_FLOPps": "peak FP8",
    "peak_fp4_FLOPps": "peak FP4",
    "sram_B": "tile SRAM",
    "n_cores": "cores",
    "clock_Hz": "clock",
    "pipeline_depth": "pipeline depth",
    "blank_mm2": "blank silicon/die",
    "scratchpad_B": "SRAM/core",
    "vector_lanes": "lanes/core",
    "dma_bandwidth_Bps": "DMA/core",
    "n_stacks": "HBM stacks",
    "hbm_bandwidth_Bps": "HBM bandwidth",
    "hbm_capacity_B": "HBM capacity",
    "scaleup_bandwidth_per_dir_Bps": "scale-up/dir",
    "scaleout_bandwidth_per_dir_Bps": "scale-out/dir",
    "most_scaleup_per_dir_Bps": "most scale-up/dir",
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

SPELT = {
    **{
        w.lower(): w
        for w in (
            *("BF16", "FP4", "FP8", "FP32", "DMA", "GLU", "HBM", "HW", "KV", "MAC", "MACs", "NIC", "NoC", "PE", "PHY"),
            *("PHYs", "PUE", "SIMD", "SIMT", "SRAM", "DP", "TP", "PEs"),
        )
    },
    "scaleup": "scale-up",
    "scaleout": "scale-out",
}
"""Words of names as people write them, where that is not in small letters."""
_TIMES = ("tokens_per_s", "step_s", "delivered_time")
_POWERS = ("full_load_W", "hottest_operator_W", "power_W")
_LINKS = ("scaleup_bandwidth_per_dir_Bps", "scaleout_bandwidth_per_dir_Bps")
MEANT = {
    **dict.fromkeys(
        ("speed", "speedup", "performance", "perf", "throughput", "latency", "tpot", "time", "tokens"), _TIMES
    ),
    **dict.fromkeys(("tdp", "watts", "power"), _POWERS),
    **dict.fromkeys(("network", "interconnect", "nvlink", "ici"), _LINKS),
    **dict.fromkeys(("price", "cost", "capex", "dollars", "usd"), ("package_cost_USD", "cost_per_token_USD")),
    "tco": ("cost_per_token_USD", "chip_hour_USD"),
    "area": ("silicon_mm2", "die_mm2"),
    **dict.fromkeys(("flops", "peak", "compute"), ("peak_bf16_FLOPps", "peak_fp8_FLOPps", "peak_fp4_FLOPps")),
    "energy": ("energy_per_token_J", "chip_energy_per_token_J"),
    "co2": ("carbon_per_token_kg",),
    **dict.fromkeys(("cache", "sram"), ("sram_B", "scratchpad_B")),
    **dict.fromkeys(("memory", "hbm"), ("hbm_capacity_B", "hbm_bandwidth_Bps")),
    **dict.fromkeys(("cooling", "thermal"), ("heat_W_per_mm2",)),
    "frequency": ("clock_Hz",),
    "voltage": ("supply_V",),
    **dict.fromkeys(("utilisation", "utilization"), ("mfu_frac",)),
}
"""What people ask for to the names that have it, likeliest first; what is asked for has neither case nor separators."""
