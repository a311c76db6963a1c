"""What can run operators: one module for each target, found by name."""

from .base import (
    CompiledRegion,
    CompiledRegions,
    Support,
    Target,
    Variant,
    cpu_thread_counts,
    cut_region,
    get_target,
    target_for,
    target_names,
    target_threads,
    target_variants,
)

__all__ = [
    "CompiledRegion",
    "CompiledRegions",
    "Support",
    "Target",
    "Variant",
    "cpu_thread_counts",
    "cut_region",
    "get_target",
    "target_for",
    "target_names",
    "target_threads",
    "target_variants",
]
