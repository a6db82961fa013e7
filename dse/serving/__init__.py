"""Serving: engines in steady state, TTFT and TPOT, cost per token, and fleets that meet latency targets."""
