"""Differentiable hardware design-space exploration: what should the next AI chip be?

    import dse
    solution = dse.solve(dse.load_study("sweeps/trainium4.toml"))
    print(solution.delivered, solution.limits)
Public names are listed in `__init__.pyi` and loaded on first use, so that `import dse` and `dse --help` are fast. Using
any of them switches JAX to float64.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
