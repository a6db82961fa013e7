"""Language models, their phases (training, prefill, decode) and requests. No bandwidths or times here."""
