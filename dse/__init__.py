"""Differentiable hardware design-space exploration: what should the next AI chip be?"""
